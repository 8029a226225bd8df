"""What happened when: instants as whole minutes of UTC since 1970, rebuilt from clock times.

The source gives local clock times, and of actual departures and arrivals not the date. Instants
are rebuilt from the scheduled departure, whose instant is sure:

- departed: scheduled departure + departure delay, so a delay past midnight needs no care;
- due: the scheduled arrival, the first time after the scheduled departure at which clocks at the
  destination show it. Should they be put forward or back during the flight, the first guess is off
  by that hour, and moved;
- landed: due + arrival delay (the arrival at the gate).

Over the whole year, landed - departed - air_time lies between 5 and 235 minutes on all 327,346
flights that have all three: the time to taxi. One wrong hour or day would show.

Given up: a flight to an airport whose time zone is unknown has no `due` and no `landed`, and a
diverted flight, without an arrival delay, never lands. Both are only seen to depart. So is one
that would land before it departs: its columns contradict each other across time zones, where the
contract of the table does not look, and its landing would tell of a departure still to come.
"""

import polars as pl

from flights.clock import DAY, HOUR, of_clock, of_day, since_epoch

DECISION_LEAD = 2 * HOUR
"""Minutes between the decision and the scheduled departure."""

UNLISTED_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
"""Destinations that the airports table misses."""


def with_instants(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """The flights with scheduled, decided, departed, due and landed, Int64 minutes.

    departed, due and landed are null where they never happened or cannot be known.
    """
    listed = dict(airports.select("faa", "tzone").drop_nulls().iter_rows())
    located = flights.with_columns(
        scheduled=since_epoch(pl.col("time")),
        zone=pl.col("dest").replace_strict(
            UNLISTED_ZONES | listed, default=None, return_dtype=pl.String
        ),
    )
    zones = located["zone"].drop_nulls().unique().sort()
    shown = of_clock(pl.col("sched_arr_time"))
    guessed = located.with_columns(
        due=pl.col("scheduled") + (shown - _local_clock("scheduled", zones)) % DAY
    )
    ahead = (_local_clock("due", zones) - shown + DAY // 2) % DAY - DAY // 2
    return (
        guessed.with_columns(due=pl.col("due") - ahead)
        .with_columns(
            decided=pl.col("scheduled") - DECISION_LEAD,
            departed=pl.col("scheduled") + pl.col("dep_delay"),
            landed=pl.col("due") + pl.col("arr_delay"),
        )
        .with_columns(pl.when(pl.col("landed") > pl.col("departed")).then("landed"))
        .drop("zone")
    )


def _local_clock(column: str, zones: pl.Series) -> pl.Expr:
    """Minutes after midnight shown by clocks in each row's zone at the instant of the column."""
    instant = pl.from_epoch(pl.col(column) * 60, time_unit="s").dt.replace_time_zone("UTC")
    return pl.coalesce(
        pl.lit(None, dtype=pl.Int64),
        *(
            pl.when(pl.col("zone") == zone).then(of_day(instant.dt.convert_time_zone(zone)))
            for zone in zones
        ),
    )
