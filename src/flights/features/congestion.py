"""Congestion: flights of the origin that are past their scheduled departure and have not departed.

A flight is queued from its scheduled departure until it departs, at most QUEUED_AT_MOST minutes.
After that it is overdue until it departs, at most OVERDUE_AT_MOST minutes after its schedule. The
source says that a flight was cancelled, but not when that was announced. So cancellations are not
used: a flight that has not departed counts the same whether it departs after the decision or never.

The number of departures around the flight's own is taken from the same hour a week earlier. The
published schedule would be more exact, but then an example would depend on rows after its decision.
(Log loss with LightGBM: 0.4699 with the schedule and 0.4708 without it on November and December,
0.3921 and 0.3922 on October.)
"""

import numpy as np
import polars as pl

from flights.clock import DAY, HOUR
from flights.features.windows import groups, ratio, timeline

QUEUED_AT_MOST = 3 * HOUR
OVERDUE_AT_MOST = 12 * HOUR

CONGESTION = (
    "queue_origin",
    "queue_carrier_origin",
    "queue_carrier_origin_waited",
    "overdue_origin",
    "scheduled_origin_1h",
    "scheduled_origin_week_ago",
)


def congestion(flights: pl.DataFrame) -> pl.DataFrame:
    """CONGESTION at each flight's decision: counts of flights, and mean minutes of waiting.

    Args:
        flights: with instants, see `flights.features.instants`.
    """
    origin, carrier = groups(flights, ("origin",)), groups(flights, ("carrier", "origin"))
    decided = flights["decided"].to_numpy()
    of_origin, _ = _queue(flights, origin, after=0, until=QUEUED_AT_MOST)
    of_carrier, waited = _queue(flights, carrier, after=0, until=QUEUED_AT_MOST)
    overdue, _ = _queue(flights, origin, after=QUEUED_AT_MOST, until=OVERDUE_AT_MOST)
    schedule = timeline(origin, flights["scheduled"], {"count": _ones(flights)})
    week_ago = flights["scheduled"].to_numpy() - 7 * DAY + HOUR // 2
    columns = (
        pl.Series(of_origin),
        pl.Series(of_carrier),
        ratio(waited, of_carrier),
        pl.Series(overdue),
        pl.Series(schedule.window(origin, decided, HOUR)["count"]),
        pl.Series(schedule.window(origin, week_ago, HOUR)["count"]),
    )
    return pl.DataFrame(dict(zip(CONGESTION, columns, strict=True)))


def _queue(
    flights: pl.DataFrame, group: np.ndarray, *, after: int, until: int
) -> tuple[np.ndarray, np.ndarray]:
    """The number of waiting flights at each decision, and the sum of the minutes they have waited.

    A flight waits from `after` minutes past its scheduled departure until it departs, or until
    `until` minutes past its scheduled departure.
    """
    scheduled = flights["scheduled"]
    waits = flights.select(
        enter=pl.col("scheduled") + after,
        leave=pl.min_horizontal("departed", pl.col("scheduled") + until),
    ).with_columns(pl.when(pl.col("leave") > pl.col("enter")).then(pl.all()))
    ones = _ones(flights)
    changes = timeline(
        np.tile(group, 2),
        pl.concat([waits["enter"], waits["leave"]]),
        {"count": pl.concat([ones, -ones]), "scheduled": pl.concat([scheduled, -scheduled])},
    )
    decided = flights["decided"].to_numpy()
    inside = changes.until(group, decided)
    return inside["count"], inside["count"] * decided - inside["scheduled"]


def _ones(flights: pl.DataFrame) -> pl.Series:
    return pl.repeat(1, flights.height, dtype=pl.Int64, eager=True)
