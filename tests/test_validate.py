"""Validation: every schema error is found and named, and its rows are kept in quarantine."""

from datetime import date
from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit import dataset
from refit.core.errors import ConfigError
from refit.data.drift import drift, psi
from refit.data.validation import ValidationResult, check_table
from refit.dataset import Table

SALES = Table(
    name="sales",
    schema=pa.DataFrameSchema(
        {
            "id": pa.Column(pl.Int64),
            "day": pa.Column(pl.Date),
            "amount": pa.Column(pl.Float64, pa.Check.in_range(0, 100), nullable=True),
            "shop": pa.Column(pl.String, pa.Check.isin(["north", "south"])),
        },
        strict=True,
    ),
    key=("id",),
    time="day",
)


def month(number: int, rows: int = 3, **columns: object) -> pl.DataFrame:
    """Rows of one month of 2020, valid unless `columns` replaces a column."""
    values = {
        "id": [number * 100 + i for i in range(rows)],
        "day": [date(2020, number, 1 + i) for i in range(rows)],
        "amount": [float(i) for i in range(rows)],
        "shop": ["north"] * rows,
    }
    return pl.DataFrame(
        values | columns, schema_overrides=None if "amount" in columns else {"amount": pl.Float64}
    )


def check(**partitions: pl.DataFrame) -> ValidationResult:
    """Validate these partitions of SALES."""
    return check_table(SALES, partitions, listed_examples=2)


def test_valid_rows_pass_unchanged() -> None:
    """Without an error the valid rows are the raw rows."""
    raw = month(1)
    result = check(p01=raw, p02=month(2))
    assert result.errors == ()
    assert result.valid["p01"].equals(raw)
    assert result.quarantine.height == 0


def test_bad_rows_go_to_quarantine_with_their_rules() -> None:
    """A row that breaks two rules is quarantined once, with both rules; the other rows stay."""
    bad = month(2, amount=[1.0, 500.0, None], shop=["north", "moon", "south"])
    result = check(p01=month(1), p02=bad)
    assert result.valid["p02"]["id"].to_list() == [200, 202]
    (row,) = result.quarantine.rows(named=True)
    assert (row["partition"], row["row"], row["id"]) == ("p02", 1, 201)
    assert row["rules"] == "amount: in_range(0, 100); shop: isin(['north', 'south'])"
    assert {(error.column, error.count, error.level) for error in result.errors} == {
        ("amount", 1, "row"),
        ("shop", 1, "row"),
    }
    assert not result.failed


@pytest.mark.parametrize(
    ("partition", "rule"),
    [
        (month(2).drop("shop"), "column_in_dataframe"),
        (month(2).with_columns(pl.col("amount").cast(pl.String)), "dtype('Float64')"),
        (month(2).with_columns(extra=1), "column_in_schema"),
        (month(2).clear(), "not_empty"),
        (month(2, id=[101, 201, 202]), "key is unique"),
        (month(2, day=[date(2019, 1, 1)] * 3), "partitions follow each other in time"),
    ],
)
def test_errors_of_the_whole_table_fail_it(partition: pl.DataFrame, rule: str) -> None:
    """A missing, mistyped or extra column, no rows, duplicate keys or wrong order fail the table."""
    result = check(p01=month(1), p02=partition)
    assert result.failed
    assert rule in {error.rule for error in result.errors if error.level == "table"}


@given(st.lists(st.floats(-200, 200), min_size=1, max_size=30))
def test_no_row_is_lost(amounts: list[float]) -> None:
    """Valid and quarantined rows together are the raw rows. Only invalid rows are quarantined."""
    result = check(
        p01=month(1, rows=1),
        p02=month(2, rows=1)
        .join(pl.DataFrame({"amount": amounts}), how="cross")
        .select(
            pl.int_range(pl.len()).alias("id") + 200,
            "day",
            pl.col("amount_right").alias("amount"),
            "shop",
        ),
    )
    invalid = [amount for amount in amounts if not 0 <= amount <= 100]
    assert result.quarantine["amount"].to_list() == invalid
    assert result.valid["p02"].height + len(invalid) == len(amounts)


def test_psi_by_hand() -> None:
    """Two bins that swap from 80:20 to 20:80 have PSI 2 * 0.6 * ln 4; equal shares have PSI 0."""
    assert psi({"a": 80, "b": 20}, {"a": 20, "b": 80}) == pytest.approx(1.2 * 1.3862943611)
    assert psi({"a": 80, "b": 20}, {"a": 8, "b": 2}) == 0


def test_drift_finds_the_shifted_column() -> None:
    """The column that shifted comes first, with its share of missing values."""
    before = pl.DataFrame({"stable": list(range(1000)), "shifted": list(range(1000))})
    after = before.with_columns(
        shifted=pl.when(pl.col("shifted") < 500).then(None).otherwise(pl.col("shifted") + 400)
    )
    rows = drift(before, after)
    assert [row["column"] for row in rows] == ["shifted", "stable"]
    assert rows[0]["psi"] > 0.25
    assert rows[0]["missing_recent"] == 0.5
    assert rows[1]["psi"] == 0


@pytest.mark.parametrize("other", [[[1.0], [2.0], []], [{"a": 1}] * 3, ["x", "y", "z"]])
def test_a_partition_of_other_types_fails_its_table(other: list[object]) -> None:
    """A list, struct or text where the table has numbers fails it, beside rows in quarantine."""
    bad = month(1, amount=[500.0, 1.0, 2.0])
    result = check(p01=bad, p02=month(2).with_columns(amount=pl.Series(other)))
    assert result.failed
    assert "dtype('Float64')" in {error.rule for error in result.errors}
    assert result.quarantine["id"].to_list() == [100]


def test_no_name_of_a_column_stops_drift() -> None:
    """Columns may have the names that counting gives to its own: count, value."""
    names = ("count", "value", "psi", "column")
    before = pl.DataFrame({name: ["a", "b"] * 50 for name in names})
    after = pl.DataFrame({name: list(range(100)) for name in names})
    assert [row["psi"] for row in drift(before, before)] == [0.0] * 4
    assert [row["psi"] for row in drift(after, after)] == [0.0] * 4


@pytest.mark.parametrize("name", ["partition", "row", "rules"])
def test_a_schema_with_a_column_of_the_engine_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TABLES with a column that Refit adds itself names the table, the column and the fix."""
    package = tmp_path / f"own_{name}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tables.py").write_text(
        "import pandera.polars as pa\nfrom refit.dataset import Table\n"
        f"schema = pa.DataFrameSchema({{'id': pa.Column(int), '{name}': pa.Column(int)}})\n"
        "TABLES = (Table(name='sales', schema=schema, key=('id',), time='id'),)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=rf"table `sales` has a column .*Got {name}\. .*rename"):
        dataset.tables(package.name)
