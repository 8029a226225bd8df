"""Point-in-time correctness: nothing that happens after a row's decision changes the row.

The raw tables go through validation before the features are built, because a later fact may break a
rule. `later_facts` makes the other futures.
"""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from later_facts import History, change_future, history_of, minutes, validated
from small_tables import ZONES, Row, Tables, flight, real, tables, utc, weather

from flights.examples import KEY, ROLES, build

LEAD = timedelta(hours=2)


def features(examples: pl.DataFrame, key: Row) -> Row:
    """The features of the example with this key."""
    example = examples.filter(*(pl.col(name) == key[name] for name in KEY))
    return example.select(ROLES.features).row(0, named=True)


def rows_of(raw: Tables, examples: pl.DataFrame) -> np.ndarray:
    """The raw flights that became examples."""
    return raw["flights"].with_row_index().join(examples, on=KEY, how="semi")["index"].to_numpy()


def key_of(raw: Tables, row: int) -> Row:
    """The key of a row of the flights."""
    return raw["flights"].select(KEY).row(row, named=True)


Month = tuple[History, pl.DataFrame]


@pytest.fixture(scope="module", params=["2013-03", "2013-07"])
def month(request: pytest.FixtureRequest) -> Month:
    """A month with a change of clocks, and one of thunderstorms; with its examples."""
    raw = real(request.param)
    return history_of(raw), build(validated(raw))


def changed_rows(month: Month, *, count: int, earlier: int = 0, outcomes: bool = True) -> list[Row]:
    """The rows that differ when everything after `earlier` minutes before the decision changes."""
    past, examples = month
    changed = []
    rows = rows_of(past.tables, examples)
    for row in np.random.default_rng(2013).choice(rows, count, replace=False):
        key = key_of(past.tables, int(row))
        now = minutes(key["time"] - LEAD) - earlier
        other = change_future(past, int(row), now, np.random.default_rng(row))
        after = build(validated(other, outcomes=outcomes))
        if features(after, key) != features(examples, key):
            changed.append(key)
    return changed


def test_no_later_event_changes_a_real_row(month: Month) -> None:
    """Twelve flights of a real month keep their features when everything later is changed."""
    assert changed_rows(month, count=12) == []


def test_events_before_the_decision_do_change_rows(month: Month) -> None:
    """The test above can fail: changes in the three hours before the decision change features."""
    assert len(changed_rows(month, count=5, earlier=180)) >= 4


def test_without_outcomes_later_events_do_change_rows(month: Month) -> None:
    """The test above can fail: if every row that breaks a rule is removed, features change."""
    past, _ = month
    examples = build(validated(past.tables, outcomes=False))
    assert len(changed_rows((past, examples), count=5, outcomes=False)) >= 4


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
            unique_by=lambda row: tuple(row[name] for name in KEY),
        )
    )
    hours = draw(st.lists(st.integers(-6, 48), unique=True))
    return tables(flights, [weather(start + timedelta(hours=h), precip=h % 7 / 10) for h in hours])


@settings(max_examples=30)
@given(raw=small_histories(), seed=st.integers(0, 2**32 - 1))
def test_no_later_event_changes_a_generated_row(raw: Tables, seed: int) -> None:
    """For any past and any changed future, the row is the same."""
    examples = build(validated(raw))
    assume(not examples.is_empty())
    random = np.random.default_rng(seed)
    row = int(random.choice(rows_of(raw, examples)))
    key = key_of(raw, row)
    other = change_future(history_of(raw), row, minutes(key["time"] - LEAD), random)
    assert features(build(validated(other)), key) == features(examples, key)


HOURS = 3
"""Decisions up to so many hours before the instant are compared."""


def break_later_air_times(past: History, instant: int) -> Tables:
    """A third of the flights that land after the instant get an air time of one minute."""
    chosen = np.random.default_rng(instant).random(past.landed.size) < 1 / 3
    breaks = pl.Series((past.landed > instant) & chosen)
    air_time = pl.when(breaks).then(pl.lit(1, pl.Int16)).otherwise("air_time")
    return past.tables | {"flights": past.tables["flights"].with_columns(air_time=air_time)}


def moved_rows(before: pl.DataFrame, after: pl.DataFrame, instant: int) -> tuple[int, int]:
    """How many examples decided by the instant differ, and how many there are in both."""
    decided = pl.col("time").dt.epoch("s") // 60 - LEAD // timedelta(minutes=1)
    compared = before.filter(decided.is_between(instant - HOURS * 60, instant))
    both = compared.join(after, on=KEY, how="semi")
    same = both.join(after, on=both.columns, how="semi", nulls_equal=True)
    return both.height - same.height, both.height


def test_an_air_time_that_breaks_a_rule_moves_no_earlier_row() -> None:
    """Landings of one minute move no row decided before; without outcomes they move nearly all."""
    july = real("2013-07")
    counts = {True: np.zeros(2, dtype=int), False: np.zeros(2, dtype=int)}
    for day in range(3, 31, 3):
        now = utc(f"2013-07-{day:02} 20:00")
        near = pl.col("time").is_between(now - timedelta(days=1), now + timedelta(days=1))
        days = july | {name: july[name].filter(near) for name in ("flights", "weather")}
        broken = break_later_air_times(history_of(days), minutes(now))
        for outcomes in counts:
            before, after = (build(validated(raw, outcomes=outcomes)) for raw in (days, broken))
            counts[outcomes] += moved_rows(before, after, minutes(now))
    assert counts[True].tolist() == [0, counts[False][1]]
    assert counts[False][0] > 0.9 * counts[False][1] > 1000
