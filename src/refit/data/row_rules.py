"""Which rows of a table break which rule of its schema.

The columns of a table become known at moments: 0 with the row, then with each group of its
`outcomes`. A rule is checked at the first moment at which it can be computed, on a frame without
the columns that become known later. So what is known later cannot decide about what was known
before. A rule of the whole data frame may read any column and is checked at the last moment.

A rule is a comparison within a row. Those that compare rows (pandera's `unique`) are rules of the
table, because otherwise a later row would remove an earlier one. pandera checks only the types of a
LazyFrame, so DataFrames are validated.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandera.errors
import pandera.polars as pa
import polars as pl

from refit.dataset import Table

SHAPE = ("column_in_", "dtype(")
"""How rules of the table's shape begin. Where one is broken, the other rules cannot be checked."""
UNIQUE = ("field_uniqueness", "multiple_fields_uniqueness")
"""Rules that compare rows."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One rule that one partition breaks."""

    partition: str
    column: str
    """Empty where the rule is of the whole table."""
    rule: str
    count: int
    examples: tuple[str, ...]
    rows: tuple[int, ...] | None
    """The rows that break the rule; None where the rule is of the whole table."""
    moment: int = 0
    """When the rule can be checked: 0 with the row, k with the k-th group of outcomes."""


def violations_by_partition(
    table: Table, partitions: Mapping[str, pl.DataFrame], listed: int
) -> Iterator[tuple[str, list[Violation]]]:
    """The name of each partition, and the rules that it breaks.

    Args:
        table: its schema and outcomes.
        partitions: the raw rows by partition name.
        listed: how many offending values a violation lists.
    """
    shape, rules = _shape(table.schema), None
    for name, frame in partitions.items():
        violations = list(_check(shape, name, frame, listed))
        of_shape = [v for v in violations if v.rule.startswith(SHAPE)]
        if not of_shape:
            rules = rules or _rules_by_moment(table, frame.clear())
            for moment, schema in enumerate(rules):
                known = _known(table, frame, moment)
                violations += _check(schema, name, known, listed, moment)
        yield name, [*_empty(name, frame), *(of_shape or violations)]


def _empty(name: str, frame: pl.DataFrame) -> Iterator[Violation]:
    if frame.is_empty():
        yield Violation(
            partition=name, column="", rule="not_empty", count=1, examples=("0 rows",), rows=None
        )


def _check(
    schema: pa.DataFrameSchema, name: str, frame: pl.DataFrame, listed: int, moment: int = 0
) -> Iterator[Violation]:
    """Pandera's failure cases, grouped by column and rule."""
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        for (column, rule), group in cases.group_by(["column", "check"], maintain_order=True):
            rows = group["index"].drop_nulls()
            values = group["failure_case"].cast(pl.String).fill_null("null")
            of_table = rule in UNIQUE or rows.len() < group.height
            yield Violation(
                partition=name,
                column=str(column or ""),
                rule=str(rule),
                count=group.height,
                examples=tuple(values.unique(maintain_order=True).head(listed)),
                rows=None if of_table else tuple(rows),
                moment=moment,
            )


def _known(table: Table, frame: pl.DataFrame, moment: int) -> pl.DataFrame:
    """The columns that are known at the moment."""
    return frame.select(name for name in frame.columns if table.moment(name) <= moment)


def _shape(schema: pa.DataFrameSchema) -> pa.DataFrameSchema:
    """The schema without rules: which columns, of which types, which of them without nulls."""
    columns = {name: _changed(column, checks=[]) for name, column in schema.columns.items()}
    return _changed(schema, columns=columns, checks=[])


def _rules_by_moment(table: Table, empty: pl.DataFrame) -> tuple[pa.DataFrameSchema, ...]:
    """For each moment, the schema with the rules that are checked then, and their columns only.

    Columns that the schema casts are kept too, because rules may read them.

    Args:
        table: its schema and outcomes.
        empty: a partition of the right shape, without rows.
    """
    last = len(table.outcomes)
    rules: dict[int, dict[str, list[pa.Check]]] = {moment: {} for moment in range(last + 1)}
    for name, column in table.schema.columns.items():
        for check in column.checks:
            rules[_moment(table, empty, name, check)].setdefault(name, []).append(check)
    return tuple(
        _changed(
            table.schema,
            columns={
                name: _changed(column, checks=of_moment.get(name, []), nullable=True, unique=False)
                for name, column in table.schema.columns.items()
                if name in of_moment
                or (table.moment(name) <= moment and (column.coerce or table.schema.coerce))
            },
            checks=table.schema.checks if moment == last else [],
            unique=None,
            strict=False,
            ordered=False,
        )
        for moment, of_moment in rules.items()
    )


def _moment(table: Table, empty: pl.DataFrame, name: str, check: pa.Check) -> int:
    """The first moment at which the rule of a column can be computed."""
    last = len(table.outcomes)
    if table.schema.columns[name].regex or name not in empty.columns:
        return table.moment(name)
    moments = range(table.moment(name), last)
    return next((m for m in moments if _computes(check, _known(table, empty, m), name)), last)


def _computes(check: pa.Check, empty: pl.DataFrame, name: str) -> bool:
    """Whether the rule finds every column that it reads."""
    try:
        check(empty.lazy(), name).check_passed.collect()
    except Exception:  # noqa: BLE001 - whatever a user's rule raises where a column is missing
        return False
    return True


def _changed(part: Any, **attributes: Any) -> Any:
    """A copy of a schema or of a column with other attributes."""
    other = copy.copy(part)
    for name, value in attributes.items():
        setattr(other, name, value)
    return other
