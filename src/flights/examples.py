"""Will a flight from New York arrive 15 minutes late or more? Decided two hours before it leaves.

A row is a flight that arrived. Its decision time T is its scheduled departure less two hours, in
UTC. What a row may know:

- of itself: the published schedule, and the aircraft planned for it;
- of other flights: that one was to leave, once its time had come by T; its departure, if it left
  by T; its arrival, if it arrived by T. Of flights that are to leave after T nothing, though the
  schedule is published (see `flights.features.congestion`);
- of the weather: the hours that were over by T.

So changing, deleting or adding anything that happened after T leaves the row as it is; a property
test holds this. A row depends on no later partition. Nothing assumes that rows are complete:
flights in quarantine, missing months and unknown airports only make the statistics thinner.

Given up: the day of the year. Late shares differ by season, but with one year of data the model
extrapolates, and its calibration is ruined.
"""

from collections.abc import Mapping

import polars as pl

from flights.clock import NEW_YORK, of_day
from flights.features.aircraft import KIND, LAST_LEG, PLANE, last_leg, planes_of
from flights.features.congestion import CONGESTION, congestion
from flights.features.history import HISTORY, LATE, history
from flights.features.instants import with_instants
from flights.features.weather import WEATHER, weather_at
from refit.dataset import PARTITION, Roles

KEY = ("time", "carrier", "flight", "origin")
SCHEDULE = ("minute_of_day", "weekday", "planned_minutes", "distance")
TARGET = "late"

ROLES = Roles(
    task="binary",
    key=KEY,
    time="time",
    target=TARGET,
    numeric=(*SCHEDULE, *HISTORY, *CONGESTION, *LAST_LEG, *PLANE, *WEATHER),
    categorical=("carrier", "origin", "dest", *KIND),
    slices=("carrier", "origin"),
)


def build(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The examples, in the order of their key.

    Args:
        tables: flights and weather (with `partition`), planes and airports.
    """
    flights = with_instants(tables["flights"].sort(KEY), tables["airports"])
    examples = pl.concat(
        [
            _own(flights),
            history(flights),
            congestion(flights),
            last_leg(flights),
            planes_of(flights, tables["planes"]),
            weather_at(flights, tables["weather"]),
        ],
        how="horizontal",
    )
    return examples.filter(pl.col(TARGET).is_not_null()).select(
        *KEY,
        PARTITION,
        TARGET,
        pl.col(ROLES.numeric).cast(pl.Float64),
        *(name for name in ROLES.categorical if name not in KEY),
    )


def _own(flights: pl.DataFrame) -> pl.DataFrame:
    """What the row says of itself: its key, what is published, and the target."""
    local = pl.col("time").dt.convert_time_zone(NEW_YORK)
    return flights.select(
        *KEY,
        "dest",
        "distance",
        PARTITION,
        minute_of_day=of_day(local),
        weekday=local.dt.weekday(),
        planned_minutes=pl.col("due") - pl.col("scheduled"),
        late=(pl.col("arr_delay") >= LATE).cast(pl.Int8),
    )
