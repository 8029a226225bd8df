"""The schemas of the raw tables: columns with units and ranges, keys, time.

Every rule is a vectorised comparison within a row. A rule about several columns passes where any of
them is null. A row that breaks a rule goes into quarantine; the features do not need complete rows.
A flight whose departure or arrival breaks one stays in the schedule, as if it had been cancelled or
diverted, because until then it looked like any other.

The real year breaks a few rules, and each time the row is wrong: a wind of 1,048 mph, a tail number
that begins with D, a flight at 703 mph, and airports whose longitude lacks its minus sign (so that
their time zone is in China). Rules of single rows do not find 13.1 degrees Fahrenheit at JFK in the
evening of May 8.

The engine compares keys, because that is much faster than pandera's `unique`.
"""

from typing import Any

import pandera.polars as pa
import polars as pl

from flights.clock import DAY, HOUR, NEW_YORK, of_clock
from refit.dataset import Table

INSTANT = pl.Datetime("us", "UTC")
TOP_SPEED = 700
"""Miles per hour over ground from take-off to landing; jets with a tailwind reach 650."""

ORIGINS = ["EWR", "JFK", "LGA"]
AIRPORT = "^[A-Z]{3}$"
REGISTRATION = "^N[0-9A-Z]{3,5}$"


def _holds(rule: str, expression: pl.Expr) -> pa.Check:
    """A rule about several columns of a row; it passes where the expression is null."""

    def check(data: pa.PolarsData) -> pl.LazyFrame:
        frame: pl.LazyFrame = data.lazyframe
        return frame.select(expression.fill_null(value=True))

    return pa.Check(check, name=rule, error=rule)


def _column(dtype: Any, meaning: str, *rules: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(dtype, list(rules), nullable=nullable, description=meaning)


def _clock(name: str, meaning: str, *rules: pa.Check, nullable: bool = False) -> pa.Column:
    is_clock_time = _holds(
        "hhmm is a clock time", (pl.col(name) % 100 < HOUR) & pl.col(name).is_between(0, 2400)
    )
    return _column(pl.Int16, f"{meaning}, hhmm", is_clock_time, *rules, nullable=nullable)


def _is_delayed(scheduled: str, actual: str, delay: str) -> pl.Expr:
    """Whether the actual clock time is the scheduled one plus the delay, on any day."""
    difference = of_clock(pl.col(actual)) - of_clock(pl.col(scheduled))
    return (difference - pl.col(delay)) % DAY == 0


_LOCAL = pl.col("time").dt.convert_time_zone(NEW_YORK)
_SAME_HOUR = (
    (_LOCAL.dt.year() == pl.col("year"))
    & (_LOCAL.dt.month() == pl.col("month"))
    & (_LOCAL.dt.day() == pl.col("day"))
    & (_LOCAL.dt.hour() == pl.col("hour"))
)

_CALENDAR = {
    "year": _column(pl.Int16, "local date", pa.Check.in_range(1987, 2100)),
    "month": _column(pl.Int8, "local date", pa.Check.in_range(1, 12)),
    "day": _column(pl.Int8, "local date", pa.Check.in_range(1, 31)),
}

FLIGHTS = pa.DataFrameSchema(
    name="flights",
    strict=True,
    columns={
        **_CALENDAR,
        "dep_time": _clock(
            "dep_time",
            "actual departure, local",
            _holds(
                "is sched_dep_time + dep_delay",
                _is_delayed("sched_dep_time", "dep_time", "dep_delay"),
            ),
            nullable=True,
        ),
        "sched_dep_time": _clock("sched_dep_time", "scheduled departure, local"),
        "dep_delay": _column(
            pl.Int16,
            "minutes; null: never departed. More than -120: not before the decision",
            pa.Check.in_range(-119, 2880),
            _holds(
                "known if and only if dep_time is",
                pl.col("dep_delay").is_null() == pl.col("dep_time").is_null(),
            ),
            nullable=True,
        ),
        "arr_time": _clock(
            "arr_time",
            "actual arrival, local at the destination",
            _holds(
                "needs a departure", pl.col("dep_time").is_not_null() | pl.col("arr_time").is_null()
            ),
            nullable=True,
        ),
        "sched_arr_time": _clock("sched_arr_time", "scheduled arrival, local at the destination"),
        "arr_delay": _column(
            pl.Int16,
            "minutes; null: cancelled or diverted. More than -120: not before the decision",
            pa.Check.in_range(-119, 2880),
            _holds(
                "needs an arrival", pl.col("arr_time").is_not_null() | pl.col("arr_delay").is_null()
            ),
            _holds(
                "arr_time is sched_arr_time + arr_delay",
                _is_delayed("sched_arr_time", "arr_time", "arr_delay"),
            ),
            nullable=True,
        ),
        "carrier": _column(pl.String, "IATA code", pa.Check.str_matches("^[0-9A-Z]{2}$")),
        "flight": _column(pl.Int16, "flight number", pa.Check.in_range(1, 9999)),
        "tailnum": _column(
            pl.String, "US registration", pa.Check.str_matches(REGISTRATION), nullable=True
        ),
        "origin": _column(pl.String, "FAA code", pa.Check.isin(ORIGINS)),
        "dest": _column(
            pl.String,
            "FAA code",
            pa.Check.str_matches(AIRPORT),
            _holds("is not the origin", pl.col("dest") != pl.col("origin")),
        ),
        "air_time": _column(
            pl.Int16,
            "minutes in the air",
            pa.Check.in_range(1, 1440),
            _holds(
                f"at most {TOP_SPEED} mph",
                pl.col("distance").cast(pl.Int64) * HOUR
                <= pl.col("air_time").cast(pl.Int64) * TOP_SPEED,
            ),
            nullable=True,
        ),
        "distance": _column(pl.Int16, "miles", pa.Check.in_range(1, 10000)),
        "hour": _column(pl.Int8, "of scheduled departure, local", pa.Check.in_range(0, 23)),
        "minute": _column(
            pl.Int8,
            "of scheduled departure, local",
            pa.Check.in_range(0, 59),
            _holds(
                "with hour makes sched_dep_time",
                pl.col("hour").cast(pl.Int64) * 100 + pl.col("minute") == pl.col("sched_dep_time"),
            ),
        ),
        "time": _column(
            INSTANT,
            "scheduled departure, UTC",
            _holds(
                "agrees with the local columns",
                _SAME_HOUR & (_LOCAL.dt.minute() == pl.col("minute")),
            ),
        ),
    },
)

WEATHER = pa.DataFrameSchema(
    name="weather",
    strict=True,
    columns={
        "origin": _column(pl.String, "FAA code", pa.Check.isin(ORIGINS)),
        **_CALENDAR,
        "hour": _column(pl.Int8, "of observation, local", pa.Check.in_range(0, 23)),
        "temp": _column(pl.Float64, "degrees F", pa.Check.in_range(-40, 130), nullable=True),
        "dewp": _column(
            pl.Float64,
            "dew point, degrees F",
            pa.Check.in_range(-60, 100),
            _holds("at most the temperature", pl.col("dewp") <= pl.col("temp")),
            nullable=True,
        ),
        "humid": _column(
            pl.Float64, "relative humidity, percent", pa.Check.in_range(0, 100), nullable=True
        ),
        "wind_dir": _column(pl.Int16, "degrees", pa.Check.in_range(0, 360), nullable=True),
        "wind_speed": _column(pl.Float64, "mph", pa.Check.in_range(0, 150), nullable=True),
        "wind_gust": _column(
            pl.Float64,
            "mph; null: no gusts",
            pa.Check.in_range(0, 200),
            _holds("at least the wind speed", pl.col("wind_gust") >= pl.col("wind_speed")),
            nullable=True,
        ),
        "precip": _column(
            pl.Float64, "inches in the hour", pa.Check.in_range(0, 12), nullable=True
        ),
        "pressure": _column(
            pl.Float64, "at sea level, millibars", pa.Check.in_range(900, 1085), nullable=True
        ),
        "visib": _column(pl.Float64, "miles, at most 10", pa.Check.in_range(0, 10), nullable=True),
        "time": _column(
            INSTANT,
            "start of the hour, UTC",
            _holds("agrees with the local columns", _SAME_HOUR & (_LOCAL.dt.minute() == 0)),
        ),
    },
)

PLANES = pa.DataFrameSchema(
    name="planes",
    strict=True,
    columns={
        "tailnum": _column(pl.String, "US registration", pa.Check.str_matches(REGISTRATION)),
        "year": _column(pl.Int16, "built in", pa.Check.in_range(1930, 2100), nullable=True),
        "type": _column(
            pl.String,
            "kind of aircraft",
            pa.Check.isin(["Fixed wing multi engine", "Fixed wing single engine", "Rotorcraft"]),
        ),
        "manufacturer": _column(pl.String, "as registered"),
        "model": _column(pl.String, "as registered"),
        "engines": _column(pl.Int8, "how many", pa.Check.in_range(1, 8)),
        "seats": _column(pl.Int16, "how many", pa.Check.in_range(1, 900)),
        "speed": _column(pl.Int16, "cruising, mph", pa.Check.in_range(30, 1400), nullable=True),
        "engine": _column(pl.String, "kind of engine"),
    },
)

AIRPORTS = pa.DataFrameSchema(
    name="airports",
    strict=True,
    columns={
        "faa": _column(pl.String, "FAA code", pa.Check.str_matches("^[0-9A-Z]{3}$")),
        "name": _column(pl.String, "usual name"),
        "lat": _column(pl.Float64, "degrees north", pa.Check.in_range(13, 72)),
        "lon": _column(
            pl.Float64,
            "degrees east; in the United States, with the Aleutians beyond the 180th meridian",
            _holds(
                "from 172 to -64, westward",
                pl.col("lon").is_between(-180, -64) | pl.col("lon").is_between(172, 180),
            ),
        ),
        "alt": _column(pl.Int16, "feet above the sea", pa.Check.in_range(-300, 15000)),
        "tz": _column(pl.Int8, "hours from UTC in winter", pa.Check.in_range(-11, -4)),
        "dst": _column(
            pl.String, "A: US daylight saving, N: none, U: unknown", pa.Check.isin(["A", "N", "U"])
        ),
        "tzone": _column(
            pl.String,
            "IANA time zone",
            pa.Check.str_matches("^[A-Za-z_]+/[A-Za-z_]+$"),
            nullable=True,
        ),
    },
)

FLIGHT_OUTCOMES = (
    ("tailnum",),
    ("dep_time", "dep_delay"),
    ("arr_time", "arr_delay", "air_time"),
)
"""What becomes known after the schedule: the aircraft that flies, its departure, its arrival.

The features use a flight's departure and tail number from the minute of its departure, and its
arrival from the minute of its arrival (see `flights.features`).
"""

TABLES = (
    Table(
        name="flights",
        schema=FLIGHTS,
        key=("time", "carrier", "flight", "origin"),
        time="time",
        outcomes=FLIGHT_OUTCOMES,
    ),
    Table(name="weather", schema=WEATHER, key=("time", "origin"), time="time"),
    Table(name="planes", schema=PLANES, key=("tailnum",), time=None),
    Table(name="airports", schema=AIRPORTS, key=("faa",), time=None),
)
