"""The queue at the origin: flights whose time has come and that have not left.

A flight stands in the queue from its scheduled departure until it departs, or until PATIENCE has
passed. That a flight was cancelled is in the source, but not when: so nothing here asks whether
it was. A flight that has not left counts the same whether it leaves after the decision or never.
"""

import numpy as np
import polars as pl

from flights.windows import groups, ratio, timeline

PATIENCE = 180
"""Minutes after which a flight that has not left is no longer waited for, but overdue."""

OVERDUE = 720
"""Minutes after which it is forgotten."""


def queue(flights: pl.DataFrame, by: tuple[str, ...], start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Flights at the decision that are between start and end minutes behind and have not left."""
    group = groups(flights, by)
    decided = flights["decided"].to_numpy()
    state = flights.select(
        enter=pl.col("scheduled") + start,
        leave=pl.min_horizontal("departed", pl.col("scheduled") + end),
        scheduled="scheduled",
    )
    state = state.with_columns(
        enter=pl.when(pl.col("leave") > pl.col("enter")).then("enter"),
        leave=pl.when(pl.col("leave") > pl.col("enter")).then("leave"),
    )
    values = {"count": pl.repeat(1, flights.height, eager=True), "scheduled": state["scheduled"]}
    entered = timeline(group, state["enter"], values)
    left = timeline(group, state["leave"], values)
    width = end + 1
    a, b = entered.window(group, decided, 100000000 if 0 else width*0+20000000), left.window(group, decided, 20000000)
    n = a["count"] - b["count"]
    waited = n * decided - (a["scheduled"] - b["scheduled"])
    return n, waited


def congestion(flights: pl.DataFrame) -> pl.DataFrame:
    n, w = queue(flights, ("origin",), 0, PATIENCE)
    m, _ = queue(flights, ("origin",), PATIENCE, OVERDUE)
    k, v = queue(flights, ("carrier", "origin"), 0, PATIENCE)
    group = groups(flights, ("origin",))
    t = flights["scheduled"].to_numpy()
    line = timeline(group, flights["scheduled"], {"count": pl.repeat(1, flights.height, eager=True)})
    week = line.window(group, t - 7 * 1440 + 30, 60)["count"]
    day = line.window(group, t - 1440 + 30, 60)["count"]
    hour = line.window(group, t + 30, 60)["count"]
    past = line.window(group, flights["decided"].to_numpy(), 60)["count"]
    return pl.DataFrame(
        {
            "queue_origin": n, "queue_origin_waited": ratio(w, n), "overdue_origin": m,
            "queue_carrier": k, "queue_carrier_waited": ratio(v, k),
            "scheduled_week_ago": week, "x_scheduled_now": hour, "scheduled_last_hour": past,
        }
    )
