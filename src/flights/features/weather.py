"""The weather at the origin that had been observed by the decision.

An hour's row is compiled from reports made during that hour (the precipitation is the hour's sum,
up to minute 51), so it is known when the hour has ended: its time + 60 minutes. The weather at the
scheduled departure, two hours later, is not known, and the data has no forecasts.
"""

import numpy as np
import polars as pl

from flights.clock import HOUR, since_epoch
from flights.features.windows import groups, timeline

PUBLISHED = HOUR
"""Minutes from the start of an hour until its observation is known."""

STALE = 3 * HOUR
"""Minutes after which an observation is ignored."""

TREND = 3 * HOUR
RAIN = 6 * HOUR

LATEST = (
    "temp", "dewp", "wind_dir", "wind_speed", "wind_gust", "visib", "precip", "pressure",
)  # fmt: skip
WEATHER = (*LATEST, "pressure_3h", "precip_6h")


def weather_at(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """WEATHER at each decision: the latest observation, the change of pressure, the precipitation.

    Args:
        flights: with instants, see `flights.features.instants`.
        weather: the raw table.
    """
    both = groups(pl.concat([flights.select("origin"), weather.select("origin")]), ("origin",))
    here, station = both[: flights.height], both[flights.height :]
    known = weather.select(since_epoch(pl.col("time")) + PUBLISHED).to_series()
    hundredths = (weather["precip"] * 100).round()
    line = timeline(station, known, {"precip": hundredths})
    decided = flights["decided"].to_numpy()
    now = _rows(weather, known, line.latest(here, decided), decided)
    before = _rows(weather, known, line.latest(here, decided - TREND), decided - TREND)
    rain = pl.Series(line.window(here, decided, RAIN)["precip"]) / 100
    return now.select(
        *LATEST,
        pressure_3h=(pl.col("pressure") - before["pressure"]).round(1),
        precip_6h=pl.when(pl.col("known").is_not_null()).then(rain),
    )


def _rows(
    weather: pl.DataFrame, known: pl.Series, rows: np.ndarray, minute: np.ndarray
) -> pl.DataFrame:
    """The observations of these rows; null where there is none (-1) or it is stale."""
    indices = pl.Series(rows).replace(-1, None)
    observed = weather.select(pl.all().gather(indices), known=known.gather(indices))
    return observed.with_columns(
        pl.when(pl.lit(pl.Series(minute)) - pl.col("known") < STALE).then(pl.all())
    )
