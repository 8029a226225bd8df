"""Predictions of the same rows by several models, and the columns that store them.

Every file uses one scheme: the predictions of a model are the column NAME or, with several classes,
the columns NAME_CLASS in the order of the classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

TOLERANCE = 1e-5
"""Largest difference between two computations of the same predictions: float32's sums in another
order, or on another processor. See `largest_difference`."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The targets of N rows and what each model predicts for them."""

    target: np.ndarray
    """(N,) 0 and 1, class numbers, or values."""
    candidate: str
    """The name of the candidate among `models`."""
    models: Mapping[str, np.ndarray]
    """The predictions of each model, (N,) or (N, K) float64."""
    classes: tuple[str, ...]
    """The K class names; empty where the task has none."""

    def only(self, rows: np.ndarray) -> "Predictions":
        """The predictions of the rows where the mask (N,) is true."""
        return Predictions(
            target=self.target[rows],
            candidate=self.candidate,
            models={name: values[rows] for name, values in self.models.items()},
            classes=self.classes,
        )

    def columns(self) -> list[pl.Series]:
        """The predictions of every model as columns."""
        return [
            column
            for name, values in self.models.items()
            for column in to_columns(name, values, self.classes)
        ]


def to_columns(name: str, values: np.ndarray, classes: Sequence[str]) -> list[pl.Series]:
    """(N,) or (N, K) predictions as float32 columns."""
    if values.ndim == 1:
        return [pl.Series(name, values.astype(np.float32))]
    return [
        pl.Series(f"{name}_{label}", values[:, number].astype(np.float32))
        for number, label in enumerate(classes)
    ]


def from_columns(frame: pl.DataFrame, name: str, classes: Sequence[str] = ()) -> np.ndarray:
    """(N,) or (N, K) float64 predictions that `to_columns` stored."""
    columns = [f"{name}_{label}" for label in classes] or [name]
    values = frame.select(columns).to_numpy().astype(np.float64)
    return values if classes else values[:, 0]


def stored_classes(frame: pl.DataFrame, name: str) -> tuple[str, ...]:
    """The classes of the predictions that are stored under the name; empty without classes."""
    start = f"{name}_"
    return tuple(column.removeprefix(start) for column in frame.columns if column.startswith(start))


def as_table(predicted: np.ndarray) -> np.ndarray:
    """(N, 1) or (N, K) predictions from (N,) or (N, K), for any N."""
    return predicted[:, None] if predicted.ndim == 1 else predicted


def largest_difference(predicted: np.ndarray, expected: np.ndarray) -> float:
    """How far two computations of the same predictions are apart at most.

    Each difference is taken relative to the largest of 1, the prediction, and the median size of
    all predictions: a sum of large terms that cancel keeps the rounding errors of the terms.

    Args:
        predicted: (N,) or (N, K).
        expected: of the same shape.

    Returns:
        NaN where one side is NaN, or where there are no rows.
    """
    if not len(expected):
        return math.nan
    wanted = expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        usual = max(1.0, float(np.median(np.abs(wanted))))
        return float(np.max(np.abs(predicted - wanted) / np.maximum(np.abs(wanted), usual)))
