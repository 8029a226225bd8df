"""Outcomes: what becomes known later never decides about what was known before."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refit import dataset
from refit.core.errors import ConfigError
from refit.data.validation import ValidationResult, check_table
from refit.dataset import Table


def rule(name: str, expression: pl.Expr) -> pa.Check:
    """A rule that may read any column of the row."""
    return pa.Check(lambda data: data.lazyframe.select(expression), name=name, error=name)


def schema(
    *, of_weight: tuple[pa.Check, ...] = (), of_table: tuple[pa.Check, ...] = ()
) -> pa.DataFrameSchema:
    """Parcels: weighed when they come, shipped later, delivered and paid at last."""
    late = rule("after shipping", pl.col("delivered") >= pl.col("shipped"))
    return pa.DataFrameSchema(
        {
            "id": pa.Column(pl.Int64),
            "day": pa.Column(pl.Date),
            "weight": pa.Column(pl.Int64, [pa.Check.in_range(1, 9), *of_weight]),
            "shipped": pa.Column(pl.Int64, pa.Check.in_range(0, 9), nullable=True),
            "delivered": pa.Column(pl.Int64, [pa.Check.in_range(0, 9), late], nullable=True),
            "paid": pa.Column(pl.Int64, pa.Check.ge(0), nullable=True),
        },
        checks=list(of_table),
        strict=True,
    )


OUTCOMES = (("shipped",), ("delivered", "paid"))
PARCELS = Table(name="parcels", schema=schema(), key=("id",), time="day", outcomes=OUTCOMES)
GOOD = (3, 1, 2, 5)


def parcels(*rows: tuple[int | None, ...]) -> pl.DataFrame:
    """Rows of weight, shipped, delivered, paid."""
    columns = ("weight", "shipped", "delivered", "paid")
    values = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.Int64), orient="row")
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(len(rows))]
    return pl.DataFrame({"id": range(len(rows)), "day": days}).hstack(values)


def check(table: Table, *rows: tuple[int | None, ...]) -> ValidationResult:
    """Validate one partition."""
    return check_table(table, {"p": parcels(*rows)}, listed_examples=3)


def kept(result: ValidationResult) -> list[tuple[Any, ...]]:
    """The rows that are left, without key and time."""
    return result.valid["p"].drop("id", "day").rows()


@pytest.mark.parametrize(
    ("row", "left", "action"),
    [
        ((0, 1, 2, 5), None, "removed"),
        ((None, 1, 2, 5), None, "removed"),
        ((3, 99, 2, 5), (3, None, None, None), "emptied shipped, delivered, paid"),
        ((3, 1, 99, 5), (3, 1, None, None), "emptied delivered, paid"),
        ((3, 1, 2, -1), (3, 1, None, None), "emptied delivered, paid"),
        ((3, 5, 2, 5), (3, 5, None, None), "emptied delivered, paid"),
        ((3, 99, 2, -1), (3, None, None, None), "emptied shipped, delivered, paid"),
        ((0, 99, 2, -1), None, "removed"),
    ],
)
def test_a_row_loses_only_what_became_known_with_the_error_or_later(
    row: tuple[int | None, ...], left: tuple[int | None, ...] | None, action: str
) -> None:
    """A broken rule empties its group of outcomes and the later ones; only earlier rules remove."""
    result = check(PARCELS, GOOD, row, GOOD)
    assert kept(result) == [GOOD, *([left] if left else []), GOOD]
    (quarantined,) = result.quarantine.rows(named=True)
    assert quarantined["row_action"] == action
    assert (quarantined["partition"], quarantined["row"]) == ("p", 1)
    original = ("weight", "shipped", "delivered", "paid")
    assert tuple(quarantined[name] for name in original) == row
    assert result.valid["p"].schema == parcels(GOOD).schema


def test_the_report_counts_removed_and_emptied_rows_apart() -> None:
    """Both are in quarantine and both count for the tolerated share; rules say what they are about."""
    result = check(PARCELS, GOOD, (0, 1, 2, 5), (3, 99, 2, 5), (3, 1, 99, 5))
    report = result.report()
    assert (report["rows"], report["removed"], report["emptied"]) == (4, 1, 2)
    assert result.quarantined_share == 3 / 4
    assert {(error["column"], error["level"]) for error in report["errors"]} == {
        ("weight", "row"),
        ("shipped", "outcome"),
        ("delivered", "outcome"),
    }


LIGHT = rule("light if unpaid", (pl.col("paid") > 0) | (pl.col("weight") < 5))
SHIPPED = rule(
    "heavy if and only if shipped", pl.col("shipped").is_not_null() == (pl.col("weight") > 2)
)


@pytest.mark.parametrize(
    ("changes", "row", "left"),
    [
        ({"of_weight": (LIGHT,)}, (8, 1, 2, 0), (8, 1, None, None)),
        ({"of_weight": (SHIPPED,)}, (8, None, None, 0), (8, None, None, None)),
        ({"of_weight": (SHIPPED,)}, (1, 3, 4, 0), (1, None, None, None)),
        ({"of_table": (LIGHT,)}, (8, 1, 2, 0), (8, 1, None, None)),
        ({"of_table": (SHIPPED,)}, (1, 3, 4, 0), (1, 3, None, None)),
    ],
)
def test_a_rule_belongs_to_the_latest_column_that_it_reads(
    changes: dict[str, Any], row: tuple[int | None, ...], left: tuple[int | None, ...]
) -> None:
    """Whatever column carries it; a rule of the whole data frame belongs to the last group."""
    assert kept(check(replace(PARCELS, schema=schema(**changes)), GOOD, row)) == [GOOD, left]


def test_a_rule_about_all_columns_sees_those_that_are_known() -> None:
    """A rule that reads every column there is is not changed by the columns of later."""
    few = rule("few large values", pl.sum_horizontal(pl.exclude("day") > 8) < 2)
    table = replace(PARCELS, schema=schema(of_weight=(few,)))
    assert kept(check(table, (9, 9, 9, 9))) == [(9, 9, 9, 9)]


def test_without_outcomes_every_broken_rule_removes_the_row() -> None:
    """The default: all columns are known with the row."""
    result = check(replace(PARCELS, outcomes=()), GOOD, (3, 1, 99, 5))
    assert kept(result) == [GOOD]
    assert (result.removed, result.emptied) == (1, 0)


def test_rules_that_compare_rows_fail_the_table() -> None:
    """The `unique` of pandera does not remove an earlier row because of a later one."""
    unique = schema()
    unique.columns["weight"].unique = True
    result = check(replace(PARCELS, schema=unique), GOOD, GOOD)
    assert result.failed
    assert result.quarantine.is_empty()


VALUE = st.sampled_from([None, -1, 0, 1, 5, 9, 99])
ROWS = st.lists(st.tuples(VALUE, VALUE, VALUE, VALUE), min_size=1, max_size=20)


@settings(max_examples=25)
@given(rows=ROWS, others=st.lists(st.tuples(VALUE, VALUE, VALUE), min_size=20, max_size=20))
def test_later_values_change_nothing_that_was_known_before(
    rows: list[tuple[int | None, ...]], others: list[tuple[int | None, ...]]
) -> None:
    """With any other outcomes the same rows stay, and with another delivery the same shipping."""
    table = replace(PARCELS, schema=schema(of_weight=(LIGHT, SHIPPED), of_table=(LIGHT,)))
    result = check(table, *rows)
    paid = check(table, *(row[:2] + new[1:] for row, new in zip(rows, others, strict=False)))
    shipped = check(table, *(row[:1] + new for row, new in zip(rows, others, strict=False)))
    for other, columns in ((paid, ["id", "weight", "shipped"]), (shipped, ["id", "weight"])):
        assert other.valid["p"].select(columns).equals(result.valid["p"].select(columns))


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (("shipped", "paid"), "holds names, not groups"),
        ("paid", "holds names, not groups"),
        ((("shipped",), ()), "a group has no column"),
        ((("sent",),), "column sent is not in the schema"),
        ((("weight",),), "column weight is not nullable"),
        ((("shipped",), ("shipped", "paid")), "column shipped is named 2 times"),
        ((("id",),), "part of the key"),
        ((("day",),), "is the time"),
    ],
)
def test_columns_that_cannot_be_outcomes_are_named(outcomes: Any, words: str) -> None:
    """One ConfigError that says what is wrong with `outcomes`."""
    with pytest.raises(ConfigError, match=words) as error:
        replace(PARCELS, outcomes=outcomes)
    assert "table parcels in TABLES" in str(error.value)


def test_a_row_without_its_outcome_is_no_example() -> None:
    """Without `build`, rows whose target is an outcome and is not known are left out."""
    readings = pl.DataFrame({"meter": [1, 2, 3], "use": [0.5, None, 2.0]})
    examples = dataset.build("meters")({"meters": readings})
    assert examples["meter"].to_list() == [1, 3]
