"""What stood around a decision and that nothing else keeps: it is logged with the version.

    scored.parquet    the rows that both were scored on, with `scored.candidate` and `scored.rival`;
                      not there where they could not be compared
    metrics.json      the evaluation, and
    slices.json       its slices, as they were then: versions of one training share a run
    validation.json   the validation report of the raw data
    about.json        what the dataset said of itself

With it, a decision can be reviewed where neither its data nor the rival's bundle are left.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from refit import dataset_card
from refit.core import files, paths
from refit.evaluation.predictions import to_columns
from refit.promotion.scoring import Scored

SCORED = "scored.parquet"
METRICS, SLICES = "metrics.json", "slices.json"
ABOUT = "about.json"
CANDIDATE, RIVAL = "scored.candidate", "scored.rival"
"""Names of the predictions in scored.parquet."""


def folder(key: str) -> str:
    """Where the context of the decision `key` lies among the artifacts of the version's run."""
    return f"decision/{key[:16]}"


@contextmanager
def gathered(root: Path, dataset: str, scored: Scored) -> Iterator[Path]:
    """The context of the decision that is being made at `root`, in a folder for the moment.

    Args:
        root: of the project.
        dataset: its name.
        scored: both on the rows that were judged.
    """
    with tempfile.TemporaryDirectory(prefix="refit-context-") as name:
        here = Path(name)
        own, rival = scored.holdout.own, scored.holdout.rival
        if rival is not None and len(own):
            rows = scored.frame.with_columns(
                *to_columns(CANDIDATE, own, scored.classes),
                *to_columns(RIVAL, rival, scored.classes),
            )
            files.write_parquet(rows, here / SCORED)
        files.write_json(here / ABOUT, asdict(dataset_card.read(dataset)))
        told = (paths.METRICS, paths.SLICES, paths.VALIDATION)
        for path in (root / name for name in told):
            if path.is_file():
                files.write_bytes(here / path.name, path.read_bytes())
        yield here
