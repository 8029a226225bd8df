"""The files that are logged with a decision, because nothing else keeps them.

    scored.parquet    the compared rows, with the predictions `scored.candidate` and `scored.rival`;
                      missing where the two could not be compared; of a release fit these are
                      the twin's, and its own are `scored.release`
    metrics.json      the evaluation, and
    slices.json       its slices, at that time: versions of one training share a run
    validation.json   the validation report of the raw data
    about.json        what the dataset says about itself

With them, a decision can be reviewed without its data and without the bundle of the rival.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import polars as pl

from refit import dataset_card
from refit.core import files, paths

SCORED = "scored.parquet"
METRICS, SLICES = "metrics.json", "slices.json"
ABOUT = "about.json"
CANDIDATE, RIVAL, RELEASE = "scored.candidate", "scored.rival", "scored.release"
"""Names of the predictions in scored.parquet. A release fit is compared by its twin."""


def folder(key: str) -> str:
    """The artifact folder, in the run of the version, for the files of the decision `key`."""
    return f"decision/{key[:16]}"


@contextmanager
def collected(root: Path, dataset: str, scored: pl.DataFrame | None) -> Iterator[Path]:
    """The files of the decision that is being made, in a temporary folder.

    Args:
        root: of the project.
        dataset: its name.
        scored: the rows of scored.parquet; None where nothing was compared.
    """
    with tempfile.TemporaryDirectory(prefix="refit-decision-") as name:
        target = Path(name)
        if scored is not None:
            files.write_parquet(scored, target / SCORED)
        files.write_json(target / ABOUT, asdict(dataset_card.read(dataset)))
        for path in (root / paths.METRICS, root / paths.SLICES, root / paths.VALIDATION):
            if path.is_file():
                files.write_bytes(target / path.name, path.read_bytes())
        yield target
