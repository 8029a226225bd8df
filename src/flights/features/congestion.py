"""The queue: flights of the origin whose time has come and that have not left.

A flight stands in the queue from its scheduled departure until it departs, but no longer than
PATIENCE; after that it is overdue, until it departs or FORGOTTEN has passed. The source says that
a flight was cancelled, but not when it was announced, so nothing here asks: a flight that has not
left counts the same whether it leaves after the decision or never. Its end is known by the clock.

How busy the hour of the departure itself will be is taken from the same hour a week ago: the
published schedule would say it better, but then a row would depend on rows after its decision.
(Measured with LightGBM: log loss .4699 with the schedule and .4708 without on November and
December, .3921 and .3922 on October.)
"""

import numpy as np
import polars as pl

from flights.clock import DAY, HOUR
from flights.features.windows import groups, ratio, timeline

PATIENCE = 3 * HOUR
FORGOTTEN = 12 * HOUR

CONGESTION = (
    "queue_origin",
    "queue_carrier_origin",
    "queue_carrier_origin_waited",
    "overdue_origin",
    "scheduled_origin_1h",
    "scheduled_origin_week_ago",
)


def congestion(flights: pl.DataFrame) -> pl.DataFrame:
    """CONGESTION at each flight's decision: counts of flights, and mean minutes waited.

    Args:
        flights: with instants, see `flights.features.instants`.
    """
    origin, carrier = groups(flights, ("origin",)), groups(flights, ("carrier", "origin"))
    decided = flights["decided"].to_numpy()
    queued, _ = _queue(flights, origin, after=0, until=PATIENCE)
    own, waited = _queue(flights, carrier, after=0, until=PATIENCE)
    overdue, _ = _queue(flights, origin, after=PATIENCE, until=FORGOTTEN)
    plan = timeline(origin, flights["scheduled"], {"count": _ones(flights)})
    week_ago = flights["scheduled"].to_numpy() - 7 * DAY + HOUR // 2
    columns = (
        pl.Series(queued),
        pl.Series(own),
        ratio(waited, own),
        pl.Series(overdue),
        pl.Series(plan.window(origin, decided, HOUR)["count"]),
        pl.Series(plan.window(origin, week_ago, HOUR)["count"]),
    )
    return pl.DataFrame(dict(zip(CONGESTION, columns, strict=True)))


def _queue(
    flights: pl.DataFrame, group: np.ndarray, *, after: int, until: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many flights wait at each decision, and the sum of the minutes that they have waited.

    They wait from `after` to `until` minutes past their scheduled departure, or till they depart.
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
