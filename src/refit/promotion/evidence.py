"""What stood around a decision and that nothing else keeps: it is logged with the version.

    scored.parquet    the rows that both were scored on, with `scored.own` and `scored.rival`;
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

import numpy as np
import polars as pl

from refit import dataset_card
from refit.core import files, paths
from refit.promotion.scoring import Scored

SCORED = "scored.parquet"
METRICS, SLICES = "metrics.json", "slices.json"
ABOUT = "about.json"
OWN, RIVAL = "scored.own", "scored.rival"
"""Columns of predictions; of several classes, `scored.own.0` and so on, in their order."""


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
            rows = scored.frame.with_columns(*_columns(OWN, own), *_columns(RIVAL, rival))
            files.write_parquet(rows, here / SCORED)
        files.write_json(here / ABOUT, asdict(dataset_card.read(dataset)))
        told = (paths.METRICS, paths.SLICES, paths.VALIDATION)
        for path in (root / name for name in told):
            if path.is_file():
                files.write_bytes(here / path.name, path.read_bytes())
        yield here


def predictions(rows: pl.DataFrame, who: str) -> np.ndarray:
    """(N,) or (N, K) the predictions that scored.parquet holds of OWN or RIVAL."""
    if who in rows.columns:
        return rows[who].to_numpy().astype(np.float64)
    several = [name for name in rows.columns if name.startswith(f"{who}.")]
    ordered = sorted(several, key=lambda name: int(name.rpartition(".")[2]))
    return rows.select(ordered).to_numpy().astype(np.float64)


def _columns(who: str, values: np.ndarray) -> list[pl.Series]:
    if values.ndim == 1:
        return [pl.Series(who, values.astype(np.float32))]
    return [
        pl.Series(f"{who}.{number}", values[:, number].astype(np.float32))
        for number in range(values.shape[1])
    ]
