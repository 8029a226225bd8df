"""Drift: how far the newest partitions differ from the earlier ones, column by column.

The measure is the population stability index (PSI), the symmetric Kullback-Leibler divergence of
two binned distributions. It is an effect size: unlike a p-value, it does not grow with the number
of rows alone. By the usual rule of thumb, below 0.1 is stable and above 0.25 is a shift. Numeric
columns are cut at the deciles of the earlier rows. Missing values are a bin.
"""

import math
from typing import Any

import polars as pl

BINS = 10
FLOOR = 1e-4
"""Smallest share of a bin, so that an empty bin does not make the index infinite."""
MAX_CATEGORIES = 1000


def drift(earlier: pl.DataFrame, recent: pl.DataFrame) -> list[dict[str, Any]]:
    """PSI and missing shares of each column that is compared, largest PSI first.

    Compared are numbers, Booleans, and strings with at most MAX_CATEGORIES values. Strings with
    more values are identifiers. Times always differ.
    """
    rows = []
    for name, dtype in earlier.schema.items():
        if dtype.is_numeric() or dtype == pl.Boolean:
            counts = _numeric_counts(earlier[name].cast(pl.Float64), recent[name].cast(pl.Float64))
        elif dtype == pl.String and earlier[name].n_unique() <= MAX_CATEGORIES:
            counts = _counts(earlier[name]), _counts(recent[name])
        else:
            continue
        rows.append(
            {
                "column": name,
                "psi": psi(*counts),
                "missing_before": earlier[name].null_count() / max(earlier.height, 1),
                "missing_recent": recent[name].null_count() / max(recent.height, 1),
            }
        )
    return sorted(rows, key=lambda row: (-row["psi"], row["column"]))


def psi(earlier: dict[Any, int], recent: dict[Any, int]) -> float:
    """Population stability index of two counts by bin: the sum of (p - q) ln(p / q), 0 or more."""
    total_earlier, total_recent = sum(earlier.values()) or 1, sum(recent.values()) or 1
    bins = sorted(earlier.keys() | recent.keys(), key=str)
    shares = [
        (
            max(earlier.get(bin_, 0) / total_earlier, FLOOR),
            max(recent.get(bin_, 0) / total_recent, FLOOR),
        )
        for bin_ in bins
    ]
    return math.fsum((p - q) * math.log(p / q) for p, q in shares)


def _counts(values: pl.Series) -> dict[Any, int]:
    return dict(values.alias("value").value_counts(sort=False).rows())


def _numeric_counts(earlier: pl.Series, recent: pl.Series) -> tuple[dict[Any, int], dict[Any, int]]:
    quantiles = (earlier.quantile(i / BINS, "nearest") for i in range(1, BINS))
    edges = sorted({quantile for quantile in quantiles if quantile is not None})
    return _counts(_binned(earlier, edges)), _counts(_binned(recent, edges))


def _binned(values: pl.Series, edges: list[float]) -> pl.Series:
    """The number of edges below each value: 0 to len(edges); null stays null."""
    column = pl.col(values.name)
    below = pl.sum_horizontal([(column > edge).cast(pl.Int32) for edge in edges] or [pl.lit(0)])
    return values.to_frame().select(pl.when(column.is_null()).then(None).otherwise(below))[:, 0]
