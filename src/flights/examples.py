"""wip"""
import polars as pl
from refit.dataset import Roles
from flights.instants import with_instants
from flights.history import history, STATISTICS
from flights.congestion import congestion
from flights.aircraft import plane, legs
from flights.sky import sky, LAST

ROLES = Roles(
    task="binary", key=("time", "carrier", "flight", "origin"), time="time", target="late",
    numeric=("minute","weekday","distance","planned","arr_minute",
      *(n for s in STATISTICS for n in s.names),
      "queue_origin","queue_origin_waited","overdue_origin","queue_carrier","queue_carrier_waited","scheduled_week_ago","scheduled_last_hour",
      "age","seats","leg_dep_delay","leg_arr_delay","leg_known_delay","leg_landed","leg_since","leg_slack","leg_other",
      "legs_24h","legs_24h_delay","tail_7d_delay","tail_7d_late",*LAST,"rain_6h","rain_3h","pressure_3h"),
    categorical=("carrier","origin","dest","manufacturer"),
    slices=("carrier","origin"),
)

def build(tables):
    f = with_instants(tables["flights"].sort("time","carrier","flight","origin"), tables["airports"])
    key = f.select("time","carrier","flight","origin","dest","partition",
        weekday=pl.date("year","month","day").dt.weekday(), minute=pl.col("hour").cast(pl.Int16)*60+pl.col("minute"),
        distance="distance", planned=pl.col("due")-pl.col("scheduled"),
        arr_minute=pl.col("sched_arr_time"),
        late=(pl.col("arr_delay")>=15).cast(pl.Int8))
    parts=[key, history(f), congestion(f), plane(f, tables["planes"]), legs(f), sky(f, tables["weather"])]
    out = pl.concat(parts, how="horizontal")
    return out.filter(pl.col("late").is_not_null())
