"""Raw tables small enough to check by eye, and instants computed independently with zoneinfo.

A test describes a flight by what happened, in UTC and minutes; `flight` writes it as the source
does, in local clock times. This folder has no __init__.py, which would hide the package `flights`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from flights import ingest

Row = dict[str, Any]
Tables = dict[str, pl.DataFrame]

NEW_YORK = ZoneInfo("America/New_York")
ZONES = {
    "ORD": "America/Chicago",
    "DEN": "America/Denver",
    "LAX": "America/Los_Angeles",
    "PHX": "America/Phoenix",
    "HNL": "Pacific/Honolulu",
    "BOS": "America/New_York",
}
UNLISTED = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
INSTANT = pl.Datetime("us", "UTC")


def utc(text: str) -> datetime:
    """An instant written as 2013-07-01 18:00, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hhmm(instant: datetime, zone: ZoneInfo) -> int:
    """The clock time in the zone, as hour * 100 + minute."""
    local = instant.astimezone(zone)
    return local.hour * 100 + local.minute


def flight(
    time: str | datetime,
    *,
    carrier: str = "AA",
    number: int = 1,
    tail: str | None = "N100AA",
    origin: str = "JFK",
    dest: str = "ORD",
    planned: int = 150,
    dep: int | None = 0,
    arr: int | None = 0,
) -> Row:
    """A raw row: `planned` minutes long, dep and arr minutes late; None: it did not happen."""
    leaves = utc(time) if isinstance(time, str) else time
    due = leaves + timedelta(minutes=planned)
    zone = ZoneInfo((ZONES | UNLISTED).get(dest, "America/New_York"))
    local = leaves.astimezone(NEW_YORK)
    arr = None if dep is None else arr
    return {
        "year": local.year,
        "month": local.month,
        "day": local.day,
        "dep_time": None if dep is None else hhmm(leaves + timedelta(minutes=dep), NEW_YORK),
        "sched_dep_time": hhmm(leaves, NEW_YORK),
        "dep_delay": dep,
        "arr_time": None if arr is None else hhmm(due + timedelta(minutes=arr), zone),
        "sched_arr_time": hhmm(due, zone),
        "arr_delay": arr,
        "carrier": carrier,
        "flight": number,
        "tailnum": tail,
        "origin": origin,
        "dest": dest,
        "air_time": None if arr is None else max(planned - 30, 20),
        "distance": max(planned - 30, 20) * 7,
        "hour": local.hour,
        "minute": local.minute,
        "time": leaves,
    }


def weather(time: str | datetime, **values: float) -> Row:
    """A raw observation of JFK in the hour that begins at this instant."""
    hour = utc(time) if isinstance(time, str) else time
    local = hour.astimezone(NEW_YORK)
    calm = {"temp": 60.0, "dewp": 40.0, "humid": 50.0, "wind_dir": 0, "wind_speed": 0.0}
    clear = {"wind_gust": None, "precip": 0.0, "pressure": 1010.0, "visib": 10.0}
    date = {"year": local.year, "month": local.month, "day": local.day, "hour": local.hour}
    return {"origin": "JFK", **date, **calm, **clear, "time": hour, **values}


def plane(tail: str, **values: Any) -> Row:
    """A raw row of the aircraft register."""
    usual = {
        "year": 2003,
        "manufacturer": "BOEING",
        "seats": 150,
        "type": "Fixed wing multi engine",
    }
    rest = {"model": "737", "engines": 2, "speed": None, "engine": "Turbo-fan"}
    return {"tailnum": tail, **usual, **rest, **values}


def tables(
    flights: Sequence[Row], weathers: Sequence[Row] = (), planes: Sequence[Row] = ()
) -> Tables:
    """The tables as `build` receives them, each row in the partition of its local month."""
    airports = [{"faa": faa, "tzone": zone} for faa, zone in ZONES.items()]
    return {
        "flights": partitioned(_frame(flights, ingest.FLIGHTS)),
        "weather": partitioned(_frame(weathers, ingest.WEATHER)),
        "planes": pl.DataFrame(planes, schema=ingest.PLANES),
        "airports": pl.DataFrame(airports, schema=ingest.AIRPORTS),
    }


def partitioned(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with the local month as their partition."""
    month = pl.format("{}-{}", "year", pl.col("month").cast(pl.String).str.zfill(2))
    return frame.with_columns(partition=month)


def real(*partitions: str) -> Tables:
    """Months of the real source."""
    parts = [ingest.read(partition) for partition in partitions]
    dated = {name: partitioned(pl.concat([part[name] for part in parts])) for name in parts[0]}
    return dated | ingest.reference()


def due(time: datetime, dest: str, sched_arr_time: int, zones: Mapping[str, str]) -> datetime:
    """The scheduled arrival in UTC: the next instant at which clocks at the destination show it."""
    zone = ZoneInfo({**zones, **UNLISTED}[dest])
    departure = time.astimezone(zone).replace(tzinfo=None)
    arrival = departure.replace(hour=sched_arr_time // 100 % 24, minute=sched_arr_time % 100)
    if arrival <= departure:
        arrival += timedelta(days=1)
    return arrival.replace(tzinfo=zone).astimezone(UTC)


def _frame(rows: Sequence[Row], columns: Mapping[str, Any]) -> pl.DataFrame:
    named = {name: kind for name, kind in columns.items() if name != "time_hour"}
    return pl.DataFrame(rows, schema={**named, "time": INSTANT})
