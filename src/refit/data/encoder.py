"""The encoder: raw example columns to what the network reads, fitted on the training rows only.

Numeric columns go through a monotone map from the training quantiles to those of a standard normal
distribution, linear between the knots (Gorishniy et al., "Revisiting Deep Learning Models for
Tabular Data", 2021). Values beyond the fitted range take the end's value; missing stays NaN, which
the network turns into a flag. Categories become codes: 0 unknown (never seen, or seen too seldom),
1 missing, then the vocabulary.

The arithmetic is float64 addition, multiplication and division, which every processor rounds
alike, and the ONNX bundle repeats it step by step.
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
"""Codes: a category never seen or too seldom; a missing value; the first of the vocabulary."""

TAIL = 0.001
"""Quantile levels stay within [TAIL, 1 - TAIL]: mapped values within about [-3.1, 3.1]."""


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
    """The fitted maps of all features, and the target's classes (multiclass only)."""

    numeric: Mapping[str, NumericMap]
    categorical: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Codes of each categorical column, unknown and missing among them."""
        return tuple(FIRST + len(words) for words in self.categorical.values())

    def encode_numeric(self, frame: pl.DataFrame) -> np.ndarray:
        """(N, F) float32, NaN where the value is missing."""
        out = np.empty((frame.height, len(self.numeric)), np.float32)
        for column, (name, fitted) in enumerate(self.numeric.items()):
            out[:, column] = fitted(as_float(frame[name]))
        return out

    def encode_categorical(self, frame: pl.DataFrame) -> np.ndarray:
        """(N, C) int32 codes."""
        out = np.empty((frame.height, len(self.categorical)), np.int32)
        for column, (name, words) in enumerate(self.categorical.items()):
            codes = {word: FIRST + i for i, word in enumerate(words)} | {"": MISSING}
            out[:, column] = (
                frame[name]
                .fill_null("")
                .replace_strict(codes, default=UNKNOWN, return_dtype=pl.Int32)
                .to_numpy()
            )
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain values; floats survive exactly."""
        return {
            "numeric": [
                {"name": name, "knots": fitted.knots.tolist(), "values": fitted.values.tolist()}
                for name, fitted in self.numeric.items()
            ],
            "categorical": [
                {"name": name, "words": list(words)} for name, words in self.categorical.items()
            ],
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Encoder":
        """The encoder that `to_json` described."""
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
        train: the training examples alone.
        roles: which columns are numeric and categorical.
        quantiles: knots of each numeric map, at most.
        min_count: rows that a category needs to get a code of its own.

    Raises:
        DataError: a feature is all null or constant in the training rows, or a binary or
            multiclass target has a single class there; all such columns are named.
    """
    _require_variety(train, roles)
    return Encoder(
        numeric={name: _fit_numeric(as_float(train[name]), quantiles) for name in roles.numeric},
        categorical={name: _vocabulary(train[name], min_count) for name in roles.categorical},
        classes=catalog.find(roles.task).classes(train[roles.target]),
    )


def as_float(column: pl.Series) -> np.ndarray:
    """(N,) float64, null as NaN, infinities too: they carry no size."""
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    values[~np.isfinite(values)] = np.nan
    return values


def _fit_numeric(values: np.ndarray, quantiles: int) -> NumericMap:
    present = np.sort(values[~np.isnan(values)])
    levels = np.linspace(0, 1, min(quantiles, len(present)))
    at = np.rint(levels * (len(present) - 1)).astype(np.int64)
    knots = np.unique(present[at])
    below = np.searchsorted(present, knots, side="left")
    above = np.searchsorted(present, knots, side="right")
    middle = np.clip((below + above) / (2 * len(present)), TAIL, 1 - TAIL)
    normal = NormalDist()
    scores = np.array([round(normal.inv_cdf(level), 9) for level in middle.tolist()])
    rising = np.concatenate([[True], np.diff(scores) > 0])
    return NumericMap(knots=knots[rising], values=scores[rising])


def _vocabulary(column: pl.Series, min_count: int) -> tuple[str, ...]:
    counts = column.drop_nulls().value_counts(sort=False, name="count")
    frequent = counts.filter((pl.col("count") >= min_count) & (pl.col(column.name) != ""))
    return tuple(frequent[column.name].sort())


def _require_variety(train: pl.DataFrame, roles: Roles) -> None:
    """Every feature and the target must take at least two values, missing aside."""
    columns = (*roles.features, roles.target)
    counts = train.select(pl.col(columns).drop_nulls().n_unique()).row(0)
    flat = [
        f"{name} ({'all null' if count == 0 else f'always {train[name].drop_nulls()[0]!r}'})"
        for name, count in zip(columns, counts, strict=True)
        if count < 2
    ]
    if flat:
        raise DataError(
            f"{len(flat)} columns take fewer than two values in the training rows",
            where=f"examples, {train.height:,} training rows",
            got=", ".join(flat),
            expected="at least two values in every feature and in the target",
            do="take the column out of the dataset's ROLES, or give training more partitions",
        )
