"""The aircraft: its age and size, and how its last flight from New York went.

The tail number is known of the row itself (the aircraft that is planned for it) and of flights
that have departed; of flights still to depart it is not used, for aircraft are swapped. The source
holds only the aircraft that flew in the end, so for the row itself this is an assumption.

Of the last leg, the decision knows the departure, and the arrival when that has happened. The way
back to New York is not in the source; it is taken to last as long as the way out was planned to.
"""

import polars as pl

from flights.clock import DAY
from flights.features.windows import groups, timeline

SAME_ROTATION = DAY
"""Minutes after which the last leg no longer says anything about the next."""

LAST_LEG = ("leg_delay", "leg_landed", "leg_since", "leg_slack")
PLANE = ("age", "seats")
KIND = ("manufacturer",)


def planes_of(flights: pl.DataFrame, planes: pl.DataFrame) -> pl.DataFrame:
    """PLANE (years, seats) and KIND; null for an aircraft that the register misses."""
    register = planes.select("tailnum", "seats", "manufacturer", built="year")
    return (
        flights.select("tailnum", "year")
        .join(register, on="tailnum", how="left", maintain_order="left")
        .select(age=pl.col("year") - pl.col("built"), seats="seats", manufacturer="manufacturer")
    )


def last_leg(flights: pl.DataFrame) -> pl.DataFrame:
    """LAST_LEG at each decision, null without a departure in the last SAME_ROTATION minutes.

    leg_delay: minutes, at arrival if that is known, else at departure; leg_landed: 1 or 0;
    leg_since: minutes from its departure to the decision; leg_slack: minutes to spare if the
    aircraft flies there and straight back before the scheduled departure.

    Args:
        flights: with instants, see `flights.features.instants`.
    """
    tail = groups(flights, ("tailnum",))
    latest = timeline(tail, flights["departed"], {}).latest(tail, flights["decided"].to_numpy())
    found = pl.Series(latest).replace(-1, None)
    legs = flights.select(
        pl.col("departed", "landed", "due", "dep_delay", "arr_delay")
        .gather(found)
        .name.prefix("leg_"),
        leg_out=(pl.col("due") - pl.col("scheduled")).gather(found),
        decided="decided",
        scheduled="scheduled",
    )
    landed = (pl.col("leg_landed") <= pl.col("decided")).fill_null(value=False)
    # Not landed by now means not before now, however long it was planned to take.
    expected = pl.max_horizontal(pl.col("leg_departed") + pl.col("leg_out"), "decided")
    there = pl.when(landed).then("leg_landed").otherwise(expected)
    recent = pl.col("decided") - pl.col("leg_departed") <= SAME_ROTATION
    return legs.select(
        pl.when(recent).then(feature).alias(name)
        for name, feature in {
            "leg_delay": pl.when(landed).then("leg_arr_delay").otherwise("leg_dep_delay"),
            "leg_landed": landed.cast(pl.Int8),
            "leg_since": pl.col("decided") - pl.col("leg_departed"),
            "leg_slack": pl.col("scheduled") - there - pl.col("leg_out"),
        }.items()
    )
