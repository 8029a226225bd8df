"""Instants of departures and arrivals, as whole minutes since 1970 in UTC, from local clock times.

The source gives local clock times, without the date for actual departures and arrivals. Instants
are computed from the scheduled departure, whose instant is known:

- departed: scheduled departure + departure delay, also past midnight;
- due: the scheduled arrival, the first instant after the scheduled departure at which clocks at the
  destination show it. If these clocks change during the flight, the first estimate is an hour off
  and is corrected;
- landed: due + arrival delay (the arrival at the gate).

Over the whole year, landed - departed - air_time, the time to taxi, lies between 5 and 235 minutes
on all 327,346 flights that have all three. One wrong hour or day would show.

A flight to an airport with an unknown time zone has no `due` and no `landed`. A diverted flight has
no arrival delay, so no `landed`. Nor has a flight that would land before it departs: its columns
contradict each other across time zones, which no rule of the schema checks, and its landing would
reveal a departure after the decision.
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
"""Time zones of destinations that are not in the airports table."""


def with_instants(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """The flights with scheduled, decided, departed, due and landed, Int64 minutes.

    departed, due and landed are null where they did not happen or cannot be computed.
    """
    listed = dict(airports.select("faa", "tzone").drop_nulls().iter_rows())
    located = flights.with_columns(
        scheduled=since_epoch(pl.col("time")),
        zone=pl.col("dest").replace_strict(
            UNLISTED_ZONES | listed, default=None, return_dtype=pl.String
        ),
    )
    zones = located["zone"].drop_nulls().unique().sort()
    scheduled_clock = of_clock(pl.col("sched_arr_time"))
    estimated = located.with_columns(
        due=pl.col("scheduled") + (scheduled_clock - _local_clock("scheduled", zones)) % DAY
    )
    ahead = (_local_clock("due", zones) - scheduled_clock + DAY // 2) % DAY - DAY // 2
    return (
        estimated.with_columns(due=pl.col("due") - ahead)
        .with_columns(
            decided=pl.col("scheduled") - DECISION_LEAD,
            departed=pl.col("scheduled") + pl.col("dep_delay"),
            landed=pl.col("due") + pl.col("arr_delay"),
        )
        .with_columns(pl.when(pl.col("landed") > pl.col("departed")).then("landed"))
        .drop("zone")
    )


def _local_clock(column: str, zones: pl.Series) -> pl.Expr:
    """The time of day in each row's zone at the column's instant, in minutes after midnight."""
    instant = pl.from_epoch(pl.col(column) * 60, time_unit="s").dt.replace_time_zone("UTC")
    return pl.coalesce(
        pl.lit(None, dtype=pl.Int64),
        *(
            pl.when(pl.col("zone") == zone).then(of_day(instant.dt.convert_time_zone(zone)))
            for zone in zones
        ),
    )
