"""The aircraft: its age and size, and the delay of its last flight from New York.

Tail numbers are used of the flight to predict (the planned aircraft) and of flights that have
departed. Those of other flights are not used, because aircraft are swapped. The source holds only
the aircraft that flew in the end, so for the flight to predict the tail number is an assumption.

The last leg's departure is known at the decision, its arrival only if it has happened. The flight
back to New York is not in the source. It is assumed to last as long as the planned flight out.
"""

import polars as pl

from flights.clock import DAY
from flights.features.windows import groups, timeline

SAME_ROTATION = DAY
"""Minutes after which the last leg is ignored."""

LAST_LEG = ("leg_delay", "leg_landed", "leg_since", "leg_slack")
PLANE = ("age", "seats")
KIND = ("manufacturer",)


def planes_of(flights: pl.DataFrame, planes: pl.DataFrame) -> pl.DataFrame:
    """PLANE (years, seats) and KIND; null for an aircraft that is not in the register."""
    register = planes.select("tailnum", "seats", "manufacturer", built="year")
    return (
        flights.select("tailnum", "year")
        .join(register, on="tailnum", how="left", maintain_order="left")
        .select(age=pl.col("year") - pl.col("built"), seats="seats", manufacturer="manufacturer")
    )


def last_leg(flights: pl.DataFrame) -> pl.DataFrame:
    """LAST_LEG at each decision, null without a departure in the last SAME_ROTATION minutes.

    leg_delay: minutes, at arrival if it is known, otherwise at departure; leg_landed: 1 or 0;
    leg_since: minutes from its departure to the decision; leg_slack: minutes left before the
    scheduled departure if the aircraft flies there and straight back.

    Args:
        flights: with instants, see `flights.features.instants`.
    """
    tail = groups(flights, ("tailnum",))
    latest = timeline(tail, flights["departed"], {}).latest(tail, flights["decided"].to_numpy())
    leg_rows = pl.Series(latest).replace(-1, None)
    legs = flights.select(
        pl.col("departed", "landed", "due", "dep_delay", "arr_delay")
        .gather(leg_rows)
        .name.prefix("leg_"),
        leg_out=(pl.col("due") - pl.col("scheduled")).gather(leg_rows),
        decided="decided",
        scheduled="scheduled",
    )
    landed = (pl.col("leg_landed") <= pl.col("decided")).fill_null(value=False)
    # A leg that has not landed by the decision lands later, whatever its plan says.
    expected = pl.max_horizontal(pl.col("leg_departed") + pl.col("leg_out"), "decided")
    arrival = pl.when(landed).then("leg_landed").otherwise(expected)
    recent = pl.col("decided") - pl.col("leg_departed") <= SAME_ROTATION
    return legs.select(
        pl.when(recent).then(feature).alias(name)
        for name, feature in {
            "leg_delay": pl.when(landed).then("leg_arr_delay").otherwise("leg_dep_delay"),
            "leg_landed": landed.cast(pl.Int8),
            "leg_since": pl.col("decided") - pl.col("leg_departed"),
            "leg_slack": pl.col("scheduled") - arrival - pl.col("leg_out"),
        }.items()
    )
