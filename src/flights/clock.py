"""Clock times and instants in whole minutes, used by the schemas and the features."""

import polars as pl

NEW_YORK = "America/New_York"
HOUR = 60
DAY = 24 * HOUR


def since_epoch(instant: pl.Expr) -> pl.Expr:
    """Minutes since 1970, UTC."""
    return instant.dt.epoch("s") // 60


def of_clock(hhmm: pl.Expr) -> pl.Expr:
    """A clock time written as hour * 100 + minute, in minutes after midnight (2400 is 0)."""
    wide = hhmm.cast(pl.Int64)
    return (wide // 100 * HOUR + wide % 100) % DAY


def of_day(local: pl.Expr) -> pl.Expr:
    """The local time of day, in minutes after midnight."""
    return local.dt.hour().cast(pl.Int64) * HOUR + local.dt.minute()
