"""Other futures for raw tables: everything after an instant changed, some of it breaking rules.

`change_future` changes, deletes and adds the schedule of later flights, departures and arrivals of
flights under way, tail numbers of flights that have not departed, and the weather. It leaves alone
what had happened by then. Instants are computed with zoneinfo, not with the code under test.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from small_tables import INSTANT, NEW_YORK, UNLISTED, Tables, due, partitioned

from flights.examples import KEY
from flights.tables import TABLES
from refit.data.validation import check_table
from refit.dataset import Table

DAY = 24 * 60
FAR = 10**9
"""Minutes that stand for never or unknown."""

SCHEDULED, WAITS, FLIES = "_scheduled", "_waits", "_flies"
"""Which facts of a flight lie in the future: its schedule, its departure, its arrival."""

BREAKS: tuple[tuple[str, dict[str, pl.Expr]], ...] = (
    (SCHEDULED, {"dest": pl.col("origin")}),
    (SCHEDULED, {"distance": pl.lit(0)}),
    (SCHEDULED, {"minute": (pl.col("minute") + 1) % 60}),
    (SCHEDULED, {"carrier": pl.lit(None)}),
    (WAITS, {"tailnum": pl.lit("D942DN")}),
    (WAITS, {"dep_delay": pl.lit(-DAY), "dep_time": pl.col("sched_dep_time")}),
    (WAITS, {"dep_delay": pl.lit(3 * DAY)}),
    (WAITS, {"dep_time": pl.lit(2399)}),
    (WAITS, {"dep_time": pl.lit(None)}),
    (WAITS, {"dep_time": pl.lit(None), "dep_delay": pl.lit(None)}),
    (FLIES, {"air_time": pl.lit(1)}),
    (FLIES, {"arr_delay": pl.lit(-DAY), "arr_time": pl.col("sched_arr_time")}),
    (FLIES, {"arr_delay": pl.lit(3 * DAY)}),
    (FLIES, {"arr_time": pl.lit(2599)}),
    (FLIES, {"arr_time": pl.lit(None)}),
)
"""What a future fact may become so that the flight breaks a rule: a fact of the past is claimed, a
value is out of its range, or columns contradict each other."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Raw tables with the instants of their flights, in minutes; FAR for never or unknown."""

    tables: Tables
    scheduled: np.ndarray
    due: np.ndarray
    departed: np.ndarray
    landed: np.ndarray


def history_of(raw: Tables) -> History:
    """The instants of each flight, computed with zoneinfo."""
    zones = dict(raw["airports"].select("faa", "tzone").drop_nulls().iter_rows())
    flights = raw["flights"]
    arrival = np.array(
        [
            minutes(due(time, dest, clock, zones)) if dest in zones | UNLISTED else FAR
            for time, dest, clock in flights.select("time", "dest", "sched_arr_time").iter_rows()
        ],
        dtype=np.int64,
    )
    scheduled = np.array([minutes(time) for time in flights["time"]], dtype=np.int64)
    return History(
        tables=raw,
        scheduled=scheduled,
        due=arrival,
        departed=scheduled + flights["dep_delay"].cast(pl.Int64).fill_null(FAR).to_numpy(),
        landed=arrival + flights["arr_delay"].cast(pl.Int64).fill_null(FAR).to_numpy(),
    )


def minutes(instant: datetime) -> int:
    """Minutes since 1970, UTC."""
    return int(instant.timestamp()) // 60


def validated(raw: Tables, *, outcomes: bool = True) -> Tables:
    """The tables as validation leaves them; without outcomes, every broken rule removes the row."""
    return raw | {
        table.name: _valid(table if outcomes else replace(table, outcomes=()), raw[table.name])
        for table in TABLES
        if table.time is not None and not raw[table.name].is_empty()
    }


def _valid(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    by_name = rows.partition_by("partition", as_dict=True, include_key=False)
    partitions = {str(name): by_name[name,] for (name,) in sorted(by_name)}
    result = check_table(table, partitions, listed_examples=3)
    assert not result.failed, result.errors
    return partitioned(pl.concat([rows.drop("partition").clear(), *result.valid.values()]))


def change_future(past: History, row: int, now: int, random: np.random.Generator) -> Tables:
    """The tables with everything after the minute `now` changed; the row stays an example."""
    return past.tables | {
        "flights": _other_flights(past, row, now, random),
        "weather": _other_weather(past.tables["weather"], now, random),
    }


def _other_flights(past: History, row: int, now: int, random: np.random.Generator) -> pl.DataFrame:
    flights = past.tables["flights"]
    count = flights.height
    is_row = np.arange(count) == row
    waits = past.departed > now
    flies = past.landed > now
    scheduled_later = waits & (past.scheduled > now) & ~is_row
    later = random.integers(1, 600, size=(2, count))
    missing = random.random((2, count)) < 0.2 * ~is_row
    never = np.zeros(count, dtype=bool)
    departs = np.maximum(now, past.scheduled - 100) + later[0] - past.scheduled
    lands = np.where(
        scheduled_later | (past.due >= FAR),
        later[1],
        np.maximum(now, past.due - 100) + later[1] - past.due,
    )
    other = flights.with_columns(
        dep_delay=_changed(flights["dep_delay"], departs, waits, missing[0]),
        arr_delay=_changed(flights["arr_delay"], lands, flies, missing[1] | (missing[0] & waits)),
        tailnum=_swapped(flights["tailnum"], waits & ~is_row, random),
        dest=_swapped(flights["dest"], scheduled_later, random),
        carrier=_swapped(flights["carrier"], scheduled_later, random),
        time=_changed(
            flights["time"].dt.epoch("us"),
            (past.scheduled + random.integers(0, 300, count)) * 60_000_000,
            scheduled_later,
            never,
        ).cast(INSTANT),
        flight=_changed(
            flights["flight"], random.integers(9000, 9999, count), scheduled_later, never
        ),
        **{
            name: pl.Series(mask)
            for name, mask in ((SCHEDULED, scheduled_later), (WAITS, waits), (FLIES, flies))
        },
        _row=pl.Series(is_row),
    )
    deleted = scheduled_later & (random.random(count) < 0.3)
    added = other.filter(scheduled_later & (random.random(count) < 0.3)).with_columns(
        pl.col("time") + timedelta(minutes=7)
    )
    several = pl.concat([other.filter(~deleted), added])
    distinct = several.unique(KEY, keep="first", maintain_order=True)
    broken = _break_rules(_with_clocks(distinct), random).drop(SCHEDULED, WAITS, FLIES, "_row")
    return partitioned(broken).sample(fraction=1, shuffle=True, seed=row)


def _with_clocks(flights: pl.DataFrame) -> pl.DataFrame:
    """The changed flights with the local columns that agree with their instants and delays."""
    timed = _where(flights, pl.col(SCHEDULED), _calendar() | {"minute": _local().dt.minute()})
    clock = pl.col("hour").cast(pl.Int64) * 100 + pl.col("minute")
    timed = _where(timed, pl.col(SCHEDULED), {"sched_dep_time": clock})
    timed = _where(timed, pl.col(WAITS), {"dep_time": _clock("sched_dep_time", "dep_delay")})
    air_time = pl.when(pl.col("arr_delay").is_not_null()).then(pl.col("distance") // 7 + 1)
    arrival = {"arr_time": _clock("sched_arr_time", "arr_delay"), "air_time": air_time}
    return _where(timed, pl.col(FLIES), arrival)


def _break_rules(flights: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """Every other flight, except the row, breaks a rule if the facts in question lie ahead."""
    kind = pl.lit(pl.Series(random.integers(0, 2 * len(BREAKS), flights.height)))
    broken = flights
    for number, (facts, values) in enumerate(BREAKS):
        broken = _where(broken, (kind == number) & pl.col(facts) & ~pl.col("_row"), values)
    return broken


def _other_weather(observed: pl.DataFrame, now: int, random: np.random.Generator) -> pl.DataFrame:
    later = pl.Series(observed["time"].dt.epoch("s").to_numpy() // 60 + 60 > now)
    noise = pl.lit(pl.Series(random.random(observed.height) * 40))
    like = dict.fromkeys(("temp", "dewp", "wind_speed", "wind_gust"), noise)
    other = _where(
        observed,
        pl.lit(later),
        like | {"precip": noise / 4, "visib": noise / 4, "pressure": noise + 1000},
    )
    broken = later & pl.Series(random.random(observed.height) < 0.2)
    other = _where(other, pl.lit(broken), {"dewp": noise + 1})
    moved = other.filter(later).with_columns(pl.col("time") + timedelta(hours=2000))
    added = _where(moved, pl.lit(value=True), _calendar())
    kept = other.filter(~later | pl.Series(random.random(observed.height) < 0.7))
    return partitioned(pl.concat([kept, added]))


def _local() -> pl.Expr:
    return pl.col("time").dt.convert_time_zone(NEW_YORK.key)


def _calendar() -> dict[str, pl.Expr]:
    """The local date and hour of the instant."""
    local = _local().dt
    return {"year": local.year(), "month": local.month(), "day": local.day(), "hour": local.hour()}


def _clock(scheduled: str, delay: str) -> pl.Expr:
    """The clock time so many minutes after the scheduled one, hhmm."""
    wide = pl.col(scheduled).cast(pl.Int64)
    minute = (wide // 100 * 60 + wide % 100 + pl.col(delay)) % DAY
    return minute // 60 * 100 + minute % 60


def _where(frame: pl.DataFrame, mask: pl.Expr, values: dict[str, pl.Expr]) -> pl.DataFrame:
    """The frame with these values where the mask holds."""
    return frame.with_columns(
        pl.when(mask).then(value.cast(frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def _changed(
    column: pl.Series, values: np.ndarray, where: np.ndarray, missing: np.ndarray
) -> pl.Series:
    """The column with these values at `where`, and nulls where they are missing."""
    other = pl.Series(np.where(where, values, 0)).cast(column.dtype, strict=False)
    return pl.select(
        pl.when(pl.Series(where & ~missing)).then(other).when(pl.Series(~where)).then(column)
    ).to_series()


def _swapped(column: pl.Series, where: np.ndarray, random: np.random.Generator) -> pl.Series:
    shuffled = column.gather(random.permutation(column.len()))
    return pl.select(pl.when(pl.Series(where)).then(shuffled).otherwise(column)).to_series()
