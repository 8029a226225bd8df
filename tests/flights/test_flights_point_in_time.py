"""Point-in-time correctness: nothing that happens after a row's decision changes the row.

`change_future` changes, deletes and adds everything after an instant: the schedule of later
flights, departures and arrivals of flights under way, tail numbers of flights that have not
departed, and the weather. It leaves alone what had happened by then. Instants are computed here
with zoneinfo, not with the code under test.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tables import (
    INSTANT,
    UNLISTED,
    ZONES,
    Row,
    Tables,
    due,
    flight,
    real,
    tables,
    utc,
    weather,
)

from flights.examples import ROLES, build

LEAD = timedelta(hours=2)
FAR = 10**9
"""Minutes that stand for never or unknown."""


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
            np.zeros(count, dtype=bool),
        ).cast(INSTANT),
        flight=_changed(
            flights["flight"], random.integers(9000, 9999, count), scheduled_later, ~waits & waits
        ),
        air_time=pl.lit(None, dtype=pl.Int16),
        dep_time=pl.lit(None, dtype=pl.Int16),
        arr_time=pl.lit(None, dtype=pl.Int16),
    )
    deleted = scheduled_later & (random.random(count) < 0.3)
    added = other.filter(scheduled_later & (random.random(count) < 0.3)).with_columns(
        pl.col("time") + timedelta(minutes=7)
    )
    return pl.concat([other.filter(~deleted), added]).sample(fraction=1, shuffle=True, seed=row)


def _other_weather(observed: pl.DataFrame, now: int, random: np.random.Generator) -> pl.DataFrame:
    later = observed["time"].dt.epoch("s").to_numpy() // 60 + 60 > now
    noise = pl.Series(random.random(observed.height) * 40)
    measured = ["temp", "dewp", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    other = observed.with_columns(
        pl.when(pl.Series(later)).then(noise).otherwise(pl.col(measured)).name.keep()
    )
    added = other.filter(later).with_columns(pl.col("time") + timedelta(hours=2000))
    kept = other.filter(~later | (random.random(observed.height) < 0.7))
    return pl.concat([kept, added])


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


def example(raw: Tables, key: Row) -> Row:
    """The features of the row with this key."""
    examples = build(raw).filter(*(pl.col(name) == value for name, value in key.items()))
    return examples.select(ROLES.features).row(0, named=True)


def arrived(raw: Tables) -> np.ndarray:
    """The rows that become examples."""
    return np.flatnonzero(raw["flights"]["arr_delay"].is_not_null().to_numpy())


def key_of(raw: Tables, row: int) -> Row:
    """The key of a row of the flights."""
    return raw["flights"].select(ROLES.key).row(row, named=True)


@pytest.fixture(scope="module", params=["2013-03", "2013-07"])
def month(request: pytest.FixtureRequest) -> History:
    """A month with a change of clocks, and one of thunderstorms."""
    return history_of(real(request.param))


def test_no_later_event_changes_a_real_row(month: History) -> None:
    """Twelve flights of a real month keep their features when everything later is changed."""
    examples = build(month.tables)
    for row in np.random.default_rng(2013).choice(arrived(month.tables), 12, replace=False):
        key = key_of(month.tables, int(row))
        now = minutes(key["time"] - LEAD)
        other = change_future(month, int(row), now, np.random.default_rng(row))
        before = examples.filter(*(pl.col(name) == value for name, value in key.items()))
        assert example(other, key) == before.select(ROLES.features).row(0, named=True), key


def test_events_before_the_decision_do_change_rows(month: History) -> None:
    """The test above can fail: changes in the three hours before the decision change features."""
    changed = 0
    rows = np.random.default_rng(2013).choice(arrived(month.tables), 5, replace=False)
    for row in rows:
        key = key_of(month.tables, int(row))
        now = minutes(key["time"] - LEAD) - 180
        other = change_future(month, int(row), now, np.random.default_rng(row))
        changed += example(other, key) != example(month.tables, key)
    assert changed >= 4


@st.composite
def small_histories(draw: st.DrawFn) -> Tables:
    """Up to 25 flights and some weather around a change of clocks or the end of a month."""
    start = utc(draw(st.sampled_from(["2013-03-09 12:00", "2013-11-02 12:00", "2013-06-30 00:00"])))
    flights = draw(
        st.lists(
            st.builds(
                flight,
                st.integers(0, 48 * 12).map(lambda five: start + timedelta(minutes=5 * five)),
                carrier=st.sampled_from(["AA", "UA"]),
                number=st.integers(1, 4),
                tail=st.sampled_from(["N100AA", "N200AA", None]),
                origin=st.sampled_from(["JFK", "LGA"]),
                dest=st.sampled_from([*ZONES, "SJU", "XXX"]),
                planned=st.integers(40, 700),
                dep=st.integers(-30, 400) | st.none(),
                arr=st.integers(-60, 400) | st.none(),
            ),
            min_size=1,
            max_size=25,
            unique_by=lambda row: tuple(row[name] for name in ROLES.key),
        ).filter(lambda rows: any(row["arr_delay"] is not None for row in rows))
    )
    hours = draw(st.lists(st.integers(-6, 48), unique=True))
    return tables(flights, [weather(start + timedelta(hours=h), precip=h % 7 / 10) for h in hours])


@settings(max_examples=60)
@given(raw=small_histories(), seed=st.integers(0, 2**32 - 1))
def test_no_later_event_changes_a_generated_row(raw: Tables, seed: int) -> None:
    """For any past and any changed future, the row is the same."""
    random = np.random.default_rng(seed)
    row = int(random.choice(arrived(raw)))
    key = key_of(raw, row)
    now = minutes(key["time"] - LEAD)
    assert example(change_future(history_of(raw), row, now, random), key) == example(raw, key)
