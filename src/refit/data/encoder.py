"""The encoder: the maps from raw columns to the arrays that a model reads.

It is fitted on the training rows only.

Numeric columns go through a monotone map from the training quantiles to those of a standard normal
distribution, linear between the knots (Gorishniy et al., "Revisiting Deep Learning Models for
Tabular Data", 2021). Values outside the fitted range are clipped to it. Missing values stay NaN.
Categories become codes: 0 unknown (not in the training rows, or too rare there), 1 missing, then
the vocabulary in alphabetical order.

The arithmetic is float64 addition, multiplication and division, which every processor rounds in
the same way. The ONNX bundle repeats it step by step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from refit.core.errors import DataError
from refit.dataset import Roles
from refit.tasks import catalog

UNKNOWN, MISSING, FIRST = 0, 1, 2
"""Codes: an unknown or rare category; a missing value; the first of the vocabulary."""

TAIL = 0.001
"""Quantile levels are clipped to [TAIL, 1 - TAIL], so mapped values to about [-3.1, 3.1]."""


@dataclass(frozen=True, kw_only=True)
class NumericMap:
    """A piecewise-linear map through (knots[i], values[i]); both increase strictly."""

    knots: np.ndarray
    values: np.ndarray

    def __call__(self, column: np.ndarray) -> np.ndarray:
        """(N,) float64 with NaN for missing -> (N,) float32."""
        inside = np.clip(column, self.knots[0], self.knots[-1])
        index = np.searchsorted(self.knots, inside, side="right") - 1
        index = np.clip(index, 0, len(self.knots) - 2)
        low, value = self.knots[index], self.values[index]
        share = (inside - low) / (self.knots[index + 1] - low)
        mapped: np.ndarray = value + share * (self.values[index + 1] - value)
        return mapped.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The fitted maps of all features, and the classes of the target."""

    numeric: Mapping[str, NumericMap]
    """The map of each numeric column."""
    categorical: Mapping[str, tuple[str, ...]]
    """The vocabulary of each categorical column; the first category has the code FIRST."""
    classes: tuple[str, ...]
    """Names of the target's classes; empty where the task has none."""

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes of each categorical column, unknown and missing included."""
        return tuple(FIRST + len(vocabulary) for vocabulary in self.categorical.values())

    def encode_numeric(self, frame: pl.DataFrame) -> np.ndarray:
        """(N, F) float32, NaN where the value is missing."""
        out = np.empty((frame.height, len(self.numeric)), np.float32)
        for column, (name, to_normal) in enumerate(self.numeric.items()):
            out[:, column] = to_normal(as_float(frame[name]))
        return out

    def encode_categorical(self, frame: pl.DataFrame) -> np.ndarray:
        """(N, C) int32 codes."""
        out = np.empty((frame.height, len(self.categorical)), np.int32)
        for column, (name, vocabulary) in enumerate(self.categorical.items()):
            codes = {word: FIRST + i for i, word in enumerate(vocabulary)} | {"": MISSING}
            out[:, column] = (
                frame[name]
                .fill_null("")
                .replace_strict(codes, default=UNKNOWN, return_dtype=pl.Int32)
                .to_numpy()
            )
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain values. Floats are written exactly."""
        return {
            "numeric": [
                {
                    "name": name,
                    "knots": to_normal.knots.tolist(),
                    "values": to_normal.values.tolist(),
                }
                for name, to_normal in self.numeric.items()
            ],
            "categorical": [
                {"name": name, "words": list(vocabulary)}
                for name, vocabulary in self.categorical.items()
            ],
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Encoder":
        """The encoder that `to_json` gave."""
        return cls(
            numeric={
                entry["name"]: NumericMap(
                    knots=np.array(entry["knots"]), values=np.array(entry["values"])
                )
                for entry in value["numeric"]
            },
            categorical={entry["name"]: tuple(entry["words"]) for entry in value["categorical"]},
            classes=tuple(value["classes"]),
        )


def fit_encoder(train: pl.DataFrame, roles: Roles, *, quantiles: int, min_count: int) -> Encoder:
    """Fit every map on the training rows.

    Args:
        train: the training examples only.
        roles: which columns are numeric and categorical.
        quantiles: largest number of knots of a numeric map.
        min_count: training rows that a category needs to get a code.

    Raises:
        DataError: a feature or the target has fewer than two values in the training rows; the
            error names all such columns.
    """
    _require_variety(train, roles)
    return Encoder(
        numeric={name: _fit_numeric(as_float(train[name]), quantiles) for name in roles.numeric},
        categorical={name: _vocabulary(train[name], min_count) for name in roles.categorical},
        classes=catalog.find(roles.task).classes(train[roles.target]),
    )


def as_float(column: pl.Series) -> np.ndarray:
    """(N,) float64, with NaN for null and for infinity, which no quantile can hold."""
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    values[~np.isfinite(values)] = np.nan
    return values


def _fit_numeric(values: np.ndarray, quantiles: int) -> NumericMap:
    """Knots at quantiles of the values (N,), each mapped to the normal score of its mean rank."""
    present = np.sort(values[~np.isnan(values)])
    levels = np.linspace(0, 1, min(quantiles, len(present)))
    positions = np.rint(levels * (len(present) - 1)).astype(np.int64)
    knots = np.unique(present[positions])
    below = np.searchsorted(present, knots, side="left")
    above = np.searchsorted(present, knots, side="right")
    middle = np.clip((below + above) / (2 * len(present)), TAIL, 1 - TAIL)
    normal = NormalDist()
    scores = np.array([round(normal.inv_cdf(level), 9) for level in middle.tolist()])
    rising = np.concatenate([[True], np.diff(scores) > 0])
    return NumericMap(knots=knots[rising], values=scores[rising])


def _vocabulary(column: pl.Series, min_count: int) -> tuple[str, ...]:
    """The frequent categories, sorted. An empty string counts as missing."""
    counts = column.alias("value").drop_nulls().value_counts(sort=False, name="count")
    frequent = counts.filter((pl.col("count") >= min_count) & (pl.col("value") != ""))
    return tuple(frequent["value"].sort())


def _require_variety(train: pl.DataFrame, roles: Roles) -> None:
    """Every feature and the target must have at least two values, not counting missing ones."""
    columns = (*roles.features, roles.target)
    counts = train.select(pl.col(columns).drop_nulls().n_unique()).row(0)
    constant = [
        f"{name} ({'all null' if count == 0 else f'always {train[name].drop_nulls()[0]!r}'})"
        for name, count in zip(columns, counts, strict=True)
        if count < 2
    ]
    if constant:
        raise DataError(
            f"{len(constant)} columns have fewer than two values in the training rows",
            where=f"examples, {train.height:,} training rows",
            got=", ".join(constant),
            expected="at least two values in every feature and in the target",
            do="take the column out of the dataset's ROLES, or train on more partitions",
        )
