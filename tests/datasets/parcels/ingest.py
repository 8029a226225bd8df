"""A source of five weeks of parcels, generated from a seed."""

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import polars as pl

ROWS = 700
DEPOTS = ("ash", "elm", "fir", "oak")


def partitions() -> tuple[str, ...]:
    """Five weeks."""
    return tuple(f"week-{number}" for number in range(1, 6))


def read(partition: str) -> Mapping[str, pl.DataFrame]:
    """One week of parcels. The route depends on weight and size, with some noise."""
    week = int(partition.removeprefix("week-"))
    rng = np.random.default_rng(week)
    weight, size = rng.exponential(3, ROWS) + 0.1, rng.normal(0, 1, ROWS)
    choice = (weight > 2).astype(int) + (size * rng.normal(1, 0.1, ROWS) > 0.3)
    days = np.sort(rng.integers(0, 7, ROWS))
    table = pl.DataFrame(
        {
            "id": np.arange(ROWS) + week * 10_000,
            "day": [date(2024, 1, 1) + timedelta(days=int(d) + 7 * week) for d in days],
            "weight": weight,
            "size": size,
            "depot": rng.choice(DEPOTS, ROWS),
            "route": np.array(["air", "rail", "road"])[choice],
        }
    )
    return {"parcels": table}


def reference() -> Mapping[str, pl.DataFrame]:
    """The depots."""
    regions = ["north", "south", "north", "east"]
    return {"depots": pl.DataFrame({"depot": list(DEPOTS), "region": regions})}
