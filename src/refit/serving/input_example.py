"""Example rows with a version's own predictions, kept beside its bundle.

Before a version is made champion by a person, it must still predict what it predicted when it was
registered. The rows are taken evenly over the holdout, so the same holdout gives the same file.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from refit.core import files, paths
from refit.evaluation.predictions import to_columns

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

ROWS = 100
PREDICTION = "refit.prediction"


def take(root: Path) -> bytes:
    """The example rows of the bundle that the pipeline left, as a Parquet file."""
    from refit.serving import bundle

    model, rows = bundle.load(root / paths.BUNDLE), files.read_parquet(root / paths.HOLDOUT)
    places = np.unique(np.linspace(0, rows.height - 1, min(ROWS, rows.height)).astype(int))
    columns = [entry["name"] for entry in model.signature["inputs"]]
    chosen = rows.select(columns)[places.tolist()]
    buffer = io.BytesIO()
    chosen.with_columns(_predictions(model, chosen)).rechunk().write_parquet(buffer)
    return buffer.getvalue()


def difference(folder: Path, examples: Path) -> float:
    """How far the bundle's predictions of the example rows are from the stored ones.

    Raises:
        DataError: the bundle cannot be loaded or does not take these rows.
    """
    from refit.serving import bundle

    model, rows = bundle.load(folder), files.read_parquet(examples)
    again = pl.DataFrame(_predictions(model, rows)).to_numpy()
    stored = rows.select(name for name in rows.columns if name.startswith(PREDICTION)).to_numpy()
    return float(np.max(np.abs(again - stored) / np.maximum(1, np.abs(stored)), initial=0))


def _predictions(model: "Bundle", rows: pl.DataFrame) -> list[pl.Series]:
    return to_columns(PREDICTION, model.predict(rows), model.signature["classes"])
