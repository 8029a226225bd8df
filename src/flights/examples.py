"""Will a flight from New York arrive 15 minutes late or more? Decided two hours before departure.

An example is a flight that arrived. Its decision time T is two hours before its scheduled
departure, in UTC. Its features use only:

- its published schedule, and the aircraft planned for it;
- of other flights, what had happened by T: that the scheduled departure had passed, the actual
  departure, the arrival. The schedule after T is not used, although it is published (see
  `flights.features.congestion`);
- the weather of the hours that had ended by T.

So nothing that happens after T changes an example, and an example depends on no later partition. A
property test changes, deletes and adds events after T, also such that validation refuses. The raw
rows need not be complete: removed flights, missing months and unknown airports only leave fewer
rows behind each statistic. A flight whose departure breaks a rule counts as one that has not
departed, for twelve hours at most (see `flights.features.congestion`); one whose arrival breaks a
rule counts as diverted.

The day of the year is not a feature: with one year of data the model would extrapolate from it, and
its probabilities would be badly calibrated.
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
            _schedule_and_target(flights),
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


def _schedule_and_target(flights: pl.DataFrame) -> pl.DataFrame:
    """The key, the published schedule and the target of each flight."""
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
