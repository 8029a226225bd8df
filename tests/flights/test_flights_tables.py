"""The schemas: the rules that the real year breaks, and what each rule refuses."""

from typing import Any

import pandera.errors
import polars as pl
import pytest

from flights import ingest
from flights.tables import TABLES

BY_NAME = {table.name: table for table in TABLES}


def broken(name: str, frame: pl.DataFrame) -> set[tuple[str, str, Any]]:
    """The (column, rule, value) that the rows of a table break."""
    try:
        BY_NAME[name].schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        assert cases["index"].null_count() == 0, cases
        return set(cases.select("column", "check", "failure_case").rows())
    return set()


def test_the_real_year_breaks_six_rules() -> None:
    """Nine of 367,671 rows break a rule. In each case the row is wrong, not the rule."""
    months = [ingest.read(partition) for partition in ingest.partitions()]
    flights, weather = (pl.concat([month[name] for month in months]) for name in months[0])
    reference = ingest.reference()
    assert broken("flights", flights) == {
        ("tailnum", "str_matches('^N[0-9A-Z]{3,5}$')", "D942DN"),
        ("air_time", "at most 700 mph", "65"),
    }
    assert broken("weather", weather) == {("wind_speed", "in_range(0, 150)", "1048.36058")}
    assert broken("planes", reference["planes"]) == set()
    west = "from 172 to -64, westward"
    assert broken("airports", reference["airports"]) == {
        ("lat", "in_range(13, 72)", "72.270833"),
        ("lon", west, "42.898333"),
        ("lon", west, "112.457"),
        ("lon", west, "117.759"),
        ("tz", "in_range(-11, -4)", "8"),
    }


@pytest.mark.parametrize(
    ("table", "changes", "column", "rule"),
    [
        ("flights", {"sched_arr_time": 1265, "arr_delay": None}, "sched_arr_time", "clock time"),
        ("flights", {"dep_time": None}, "dep_delay", "if and only if"),
        ("flights", {"dep_time": 1}, "dep_time", "sched_dep_time"),
        ("flights", {"dep_time": None, "dep_delay": None}, "arr_time", "needs a departure"),
        ("flights", {"arr_time": None}, "arr_delay", "needs an arrival"),
        ("flights", {"arr_delay": 1000}, "arr_delay", "sched_arr_time"),
        ("flights", {"dep_delay": -1440}, "dep_delay", "in_range"),
        ("flights", {"dest": "JFK", "origin": "JFK"}, "dest", "not the origin"),
        ("flights", {"distance": 9000}, "air_time", "700 mph"),
        ("flights", {"hour": 3}, "minute", "sched_dep_time"),
        ("flights", {"day": 3}, "time", "local columns"),
        ("flights", {"origin": "BOS"}, "origin", "isin"),
        ("weather", {"hour": 3}, "time", "local columns"),
        ("weather", {"dewp": 90.0}, "dewp", "temperature"),
        ("weather", {"wind_gust": 1.0, "wind_speed": 20.0}, "wind_gust", "wind speed"),
        ("weather", {"visib": 11.0}, "visib", "in_range"),
        ("planes", {"seats": 0}, "seats", "in_range"),
        ("planes", {"manufacturer": None}, "manufacturer", "not_nullable"),
        ("airports", {"lon": 74.0}, "lon", "westward"),
    ],
)
def test_each_rule_refuses_a_wrong_row(
    table: str, changes: dict[str, Any], column: str, rule: str
) -> None:
    """A row of the source that is changed to break the rule is refused because of it."""
    frame = (ingest.read("2013-01") | ingest.reference())[table].head(1)
    changed = frame.with_columns(
        pl.lit(value, dtype=frame.schema[name]).alias(name) for name, value in changes.items()
    )
    assert broken(table, frame) == set()
    assert any(column == where and rule in what for where, what, _ in broken(table, changed))


def test_every_column_is_described() -> None:
    """Every column of a schema has a description."""
    for table in TABLES:
        assert all(column.description for column in table.schema.columns.values())


def test_keys_and_times_are_columns() -> None:
    """Each table has its key and time columns, and every key names one row of the source."""
    read = ingest.read("2013-01") | ingest.reference()
    for table in TABLES:
        assert set(table.key) <= set(table.schema.columns)
        assert table.time is None or table.time in table.schema.columns
        assert not read[table.name].select(table.key).is_duplicated().any()
