"""Clock times on paper turned into instants: whole minutes of UTC since 1970, as integers.

The source gives local clock times without dates for the arrival. What happened is rebuilt from the
scheduled departure, whose instant is sure:

- departed = scheduled departure + departure delay. A delay that runs past midnight, the other way
  to lose a day, needs no care then;
- due = the scheduled arrival: the first time after the scheduled departure at which the clocks of
  the destination show the scheduled arrival time. Should those clocks change during the flight,
  the first guess is off by that hour and corrected;
- landed = due + arrival delay. (In the source's words the arrival at the gate.)

Given up: a flight to a place whose time zone is unknown has no `due` and no `landed`, and a
diverted flight, whose arrival delay is missing, never lands. Both are seen only to depart.
"""

import polars as pl

DECISION_LEAD = 120
"""Minutes between the decision and the scheduled departure."""

DAY = 1440

UNLISTED_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
"""Destinations that the airports table misses."""


def minutes(instant: pl.Expr) -> pl.Expr:
    """Whole minutes since 1970, UTC."""
    return instant.dt.epoch("s") // 60


def clock_minutes(hhmm: pl.Expr) -> pl.Expr:
    """A clock time written as hour * 100 + minute, in minutes after midnight (2400 is 0)."""
    wide = hhmm.cast(pl.Int64)
    return (wide // 100 * 60 + wide % 100) % DAY


def with_instants(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """The flights with the columns scheduled, decided, departed, due and landed.

    All are minutes since 1970 as Int64; departed, due and landed may be null.
    """
    zoned = flights.with_columns(
        scheduled=minutes(pl.col("time")), zone=_zones(flights["dest"], airports)
    )
    zones = tuple(zoned["zone"].drop_nulls().unique().sort())
    flown = (clock_minutes(pl.col("sched_arr_time")) - _local_clock("scheduled", zones)) % DAY
    guessed = zoned.with_columns(due=pl.col("scheduled") + flown)
    off = (_local_clock("due", zones) - clock_minutes(pl.col("sched_arr_time"))) % DAY
    return (
        guessed.with_columns(due=pl.col("due") - pl.when(off > DAY // 2).then(off - DAY).otherwise(off))
        .with_columns(
            decided=pl.col("scheduled") - DECISION_LEAD,
            departed=pl.col("scheduled") + pl.col("dep_delay"),
            landed=pl.col("due") + pl.col("arr_delay"),
        )
        .drop("zone")
    )


def _zones(destinations: pl.Series, airports: pl.DataFrame) -> pl.Series:
    listed = dict(airports.select("faa", "tzone").drop_nulls().iter_rows())
    return destinations.replace_strict(UNLISTED_ZONES | listed, default=None, return_dtype=pl.String)


def _local_clock(column: str, zones: tuple[str, ...]) -> pl.Expr:
    """Minutes after midnight that clocks in each row's zone show at the instant of the column."""
    instant = pl.from_epoch(pl.col(column) * 60, time_unit="s").dt.replace_time_zone("UTC")
    shown = [
        pl.when(pl.col("zone") == zone).then(_minute_of_day(instant.dt.convert_time_zone(zone)))
        for zone in zones
    ]
    return pl.coalesce(*shown) if shown else pl.lit(None, dtype=pl.Int64)


def _minute_of_day(local: pl.Expr) -> pl.Expr:
    return local.dt.hour().cast(pl.Int64) * 60 + local.dt.minute().cast(pl.Int64)
