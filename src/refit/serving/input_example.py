"""Example rows with a version's own predictions, kept with its bundle.

Before a person makes a version champion, it must still predict what it predicted when it was
registered. The rows are spread evenly over the holdout, so the same holdout gives the same file.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from refit.core import files
from refit.evaluation.predictions import largest_difference, to_columns

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

ROWS = 100
PREDICTION = "refit.prediction"


def take(model: "Bundle", rows: pl.DataFrame) -> bytes:
    """Some of the rows with the model's predictions, as a Parquet file."""
    places = np.unique(np.linspace(0, rows.height - 1, min(ROWS, rows.height)).astype(int))
    columns = [entry["name"] for entry in model.signature["inputs"]]
    chosen = rows.select(columns)[places.tolist()]
    buffer = io.BytesIO()
    chosen.with_columns(_predictions(model, chosen)).rechunk().write_parquet(buffer)
    return buffer.getvalue()


def difference(folder: Path, examples: Path) -> float:
    """The largest difference between the bundle's predictions and the stored ones.

    Args:
        folder: of the bundle.
        examples: the file that `take` made.

    Raises:
        DataError: the bundle cannot be loaded or does not take these rows.
    """
    from refit.serving import bundle

    model, rows = bundle.load(folder), files.read_parquet(examples)
    predicted = pl.DataFrame(_predictions(model, rows)).to_numpy()
    stored = rows.select(name for name in rows.columns if name.startswith(PREDICTION)).to_numpy()
    return largest_difference(predicted, stored)


def _predictions(model: "Bundle", rows: pl.DataFrame) -> list[pl.Series]:
    return to_columns(PREDICTION, model.predict(rows), model.signature["classes"])
