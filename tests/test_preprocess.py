"""The split by time, and the checks of the examples."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit.core.errors import ConfigError, DataError
from refit.data.split import PreprocessParams, check_examples, split
from refit.dataset import Roles

ROLES = Roles(task="binary", key=("id",), time="t", target="y", numeric=("x",), categorical=("c",))


def examples(months: int = 5, rows: int = 4) -> pl.DataFrame:
    """A few rows in each of the months."""
    start = datetime(2013, 1, 1, tzinfo=UTC)
    total = months * rows
    return pl.DataFrame(
        {
            "id": range(total),
            "t": [start + timedelta(days=31 * (i // rows), hours=i) for i in range(total)],
            "partition": [f"2013-{1 + i // rows:02d}" for i in range(total)],
            "y": [i % 2 for i in range(total)],
            "x": [float(i) for i in range(total)],
            "c": ["a"] * total,
        }
    )


def settings(holdout: int = 1, validation: int = 1, train: int = 0) -> PreprocessParams:
    """Parts of so many partitions."""
    return PreprocessParams(
        holdout_partitions=holdout,
        validation_partitions=validation,
        train_partitions=train,
        quantiles=5,
        min_count=1,
    )


@given(
    months=st.integers(3, 9),
    holdout=st.integers(1, 3),
    validation=st.integers(1, 3),
    train=st.integers(0, 3),
)
def test_no_row_is_in_two_parts(months: int, holdout: int, validation: int, train: int) -> None:
    """Each part is later than the previous one, and no row of their partitions is lost."""
    parameters = settings(holdout, validation, train)
    if months < holdout + validation + max(train, 1):
        with pytest.raises(ConfigError, match="the split needs"):
            split(examples(months), ROLES, parameters)
        return
    parts = split(examples(months), ROLES, parameters)
    assert parts["train"]["t"].max() < parts["validation"]["t"].min()
    assert parts["validation"]["t"].max() < parts["holdout"]["t"].min()
    used = (train or months - holdout - validation) + holdout + validation
    assert sum(part.height for part in parts.values()) == 4 * used


def test_partitions_out_of_order() -> None:
    """Partitions whose names do not sort in the order of time are refused."""
    swapped = examples().with_columns(
        partition=pl.when(pl.col("partition") == "2013-01")
        .then(pl.lit("2013-99"))
        .otherwise(pl.col("partition"))
    )
    with pytest.raises(DataError, match="begin before the end of the previous one"):
        split(swapped, ROLES, settings())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"drop": "x"}, "column x is missing"),
        ({"x": pl.lit("a")}, "numeric column x is String"),
        ({"c": pl.lit(1)}, "categorical column c is Int32"),
        ({"t": pl.lit("noon")}, "time column t is String"),
        ({"id": pl.lit(3)}, "20 rows share a key"),
        ({"y": pl.lit(None, pl.Int8)}, "column y is null in 20 rows"),
        ({"y": pl.lit(2)}, "neither 0 nor 1 in 20 rows"),
        ({"empty": 1}, "there is no row"),
    ],
)
def test_errors_in_examples_are_named(change: dict[str, object], named: str) -> None:
    """A missing column, a wrong type, nulls, duplicate keys and an empty table are each named."""
    frame = examples()
    if "drop" in change:
        frame = frame.drop("x")
    elif "empty" in change:
        frame = frame.clear()
    else:
        frame = frame.with_columns(**change)
    with pytest.raises(DataError, match=named):
        check_examples(frame, ROLES)


def test_a_target_among_the_features_is_refused() -> None:
    """The target cannot be a feature."""
    leaky = Roles(
        task="binary", key=("id",), time="t", target="y", numeric=("x", "y"), categorical=()
    )
    with pytest.raises(DataError, match="column y is a feature"):
        check_examples(examples(), leaky)


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("target", {"slices": ("target",)}),
        ("block", {"key": ("block",)}),
        ("block", {"time": "block"}),
        ("prediction", {"numeric": ("prediction",)}),
    ],
)
def test_names_that_the_engine_uses_are_refused(name: str, roles: dict[str, object]) -> None:
    """A column that evaluation or bundle would replace by one of their own is to be renamed."""
    role = next(iter(roles))
    source = {"time": "t", "key": "id", "numeric": "x", "slices": "c"}[role]
    changed = examples().with_columns(pl.col(source).alias(name))
    with pytest.raises(DataError, match=f"column {name} has a name that Refit itself uses"):
        check_examples(changed, replace(ROLES, **roles))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [pl.List(pl.Int64), pl.Struct({"a": pl.Int64})])
@pytest.mark.parametrize("role", ["slices", "key", "numeric"])
def test_nested_columns_are_refused(dtype: pl.DataType, role: str) -> None:
    """A list or a struct in a column that has a role is named; in others it does not matter."""
    value = [1, 2] if dtype == pl.List(pl.Int64) else {"a": 1}
    nested = examples().with_columns(n=pl.lit(pl.Series([value], dtype=dtype)).first())
    with pytest.raises(DataError, match=r"column n is (List|Struct).* one value in each row"):
        check_examples(nested, replace(ROLES, **{role: ("n",)}))  # type: ignore[arg-type]
    assert "n" not in check_examples(nested, ROLES).columns
