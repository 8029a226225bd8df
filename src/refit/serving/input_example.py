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
from refit.core.errors import DataError
from refit.evaluation.predictions import largest_difference, to_columns
from refit.serving import answers, sandbox

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

ROWS = 100
PREDICTION = "refit.prediction"
TWIN_PREDICTION = "refit.twin"
"""Of the twin, where the bundle is a release fit."""


def take(model: "Bundle", rows: pl.DataFrame) -> bytes:
    """Some of the rows with the model's predictions, as a Parquet file."""
    places = np.unique(np.linspace(0, rows.height - 1, min(ROWS, rows.height)).astype(int))
    columns = [entry["name"] for entry in model.signature["inputs"]]
    chosen = rows.select(columns)[places.tolist()]
    buffer = io.BytesIO()
    chosen.with_columns(_predictions(model, chosen)).rechunk().write_parquet(buffer)
    return buffer.getvalue()


def read(path: Path) -> pl.DataFrame:
    """Example rows in a file of a version.

    Raises:
        DataError: they cannot be read, or are none, or more than `take` takes.
    """
    try:
        count = pl.scan_parquet(path).select(pl.len()).collect().item()  # without the rows
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _no_examples(str(error).splitlines()[0]) from error
    if not 1 <= count <= ROWS:
        raise _no_examples(f"{count:,} rows")
    return files.read_parquet(path)


def difference(model: "Bundle", rows: pl.DataFrame) -> float:
    """The largest difference between a model's predictions and the stored ones; NaN if one is NaN.

    The model is tried in a process of its own, see `refit.serving.sandbox`, and so is its twin.

    Args:
        model: that is not trusted yet.
        rows: of `take`.

    Raises:
        DataError: the model does not pass its trial, or the rows have no predictions.
    """
    return float(np.max([_difference(each, name, rows) for name, each in _models(model)]))


def _difference(model: "Bundle", name: str, rows: pl.DataFrame) -> float:
    stored = rows.select(each for each in rows.columns if each.startswith(name)).to_numpy()
    predicted = sandbox.predict(model, rows).reshape(rows.height, -1)
    if predicted.shape != stored.shape:
        raise _no_examples(f"predictions of shape {stored.shape}, not {predicted.shape}")
    return largest_difference(predicted, stored)


def _no_examples(got: str) -> DataError:
    return DataError(
        "the example rows are not those that a version is registered with",
        where="examples.parquet",
        got=got,
        expected=f"1 to {ROWS} rows with their predictions",
        do="restore the artifact store from a backup",
    )


def _predictions(model: "Bundle", rows: pl.DataFrame) -> list[pl.Series]:
    classes = model.signature["classes"]
    return [
        column
        for name, each in _models(model)
        for column in to_columns(name, answers.predict(each, rows), classes)
    ]


def _models(model: "Bundle") -> list[tuple[str, "Bundle"]]:
    """The models of a bundle, each with the name of its predictions."""
    twin = [(TWIN_PREDICTION, model.evaluated)] if model.is_release else []
    return [(PREDICTION, model), *twin]
