"""The contracts of the raw tables: columns with units and ranges, keys, time.

Every rule is one vectorised comparison, and a rule over several columns passes where one of them
is null. A row that breaks a rule goes to quarantine: nothing downstream needs rows to be complete.
The real year breaks four rules, and each time the row is wrong: wind of 1,048 mph (Newark,
2013-02-12), the tail number D942DN (four flights; no US registration begins with D), a flight at
703 mph (LaGuardia to Atlanta, 2013-05-25), and three airports on the wrong side of the earth or in
Asia, for lack of a sign.

The keys are compared by the engine, faster than by pandera's `unique`.
"""

from collections.abc import Callable
from typing import Any

import pandera.polars as pa
import polars as pl

from refit.dataset import Table

ORIGINS = ["EWR", "JFK", "LGA"]
INSTANT = pl.Datetime("us", "UTC")
NEW_YORK = "America/New_York"
TOP_SPEED = 700
"""Miles per hour over ground, from take-off to touch-down; jets with a tailwind reach 650."""


def _rule(name: str, holds: pl.Expr) -> pa.Check:
    """A rule over several columns of a row."""

    def check(data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(holds.fill_null(value=True))

    return pa.Check(check, name=name, error=name)


def _column(dtype: Any, unit: str, *checks: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(dtype, list(checks), nullable=nullable, description=unit)


def _between(low: float, high: float) -> pa.Check:
    return pa.Check.in_range(low, high)


def _clock(name: str, unit: str, *, nullable: bool = False) -> pa.Column:
    """A local clock time written as hour * 100 + minute."""
    return _column(pl.Int16, f"{unit}, hhmm", _between(0, 2400), nullable=nullable)
