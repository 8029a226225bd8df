"""Validation of raw partitions against their pandera schemas: every error, with the rule it broke.

A row that breaks a rule goes into quarantine. A rule of the whole table fails the table: a missing
column, a wrong type, an empty partition, duplicate keys, partitions out of order. pandera checks
only the types of a LazyFrame, so tables are validated as DataFrames. Keys are compared here, in one
pass over all partitions, because pandera's `unique` is the slowest of its rules.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandera.errors
import polars as pl

from refit.core.params import param
from refit.dataset import Table

SHAPE = ("column_in_", "dtype(")
"""How rules of the table's shape begin. Where one is broken, the other rules cannot be checked."""
RULES = "rules"
ROW = "row"


@dataclass(frozen=True, kw_only=True)
class ValidateParams:
    """Section `validate` of params.yaml."""

    tolerated_share: float = param(
        "largest share of a table's rows that may break a rule before the stage fails",
        minimum=0,
        maximum=1,
    )
    listed_examples: int = param(
        "values listed for each error in the report", minimum=1, maximum=1_000
    )
    recent_partitions: int = param(
        "newest partitions whose distributions are compared with all the earlier ones", minimum=1
    )


@dataclass(frozen=True, kw_only=True)
class SchemaError:
    """One rule that a table breaks: how often, in which partitions and by which values."""

    table: str
    column: str
    """Empty where the rule is of the whole table."""
    rule: str
    level: Literal["row", "table"]
    count: int
    partitions: tuple[str, ...]
    examples: tuple[str, ...]

    def sentence(self) -> str:
        """The error in words."""
        where = f"{self.table}.{self.column}" if self.column else self.table
        return (
            f"{where} breaks `{self.rule}` {self.count:,} time{'s' * (self.count > 1)}"
            f" in {_shortened(self.partitions)} (for example {', '.join(self.examples)})"
        )


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """A table after validation."""

    valid: dict[str, pl.DataFrame]
    """The rows that break no rule, by partition."""
    quarantine: pl.DataFrame
    """The other rows: partition, row (from 0 in its file), rules, then the raw columns."""
    errors: tuple[SchemaError, ...]
    rows: int
    """Raw rows of all partitions."""

    @property
    def failed(self) -> bool:
        """Whether a rule of the whole table is broken."""
        return any(error.level == "table" for error in self.errors)

    @property
    def quarantined_share(self) -> float:
        """The share of rows in quarantine."""
        return self.quarantine.height / self.rows if self.rows else 0.0

    def report(self) -> dict[str, Any]:
        """The table's part of validation.json."""
        return {
            "rows": self.rows,
            "partitions": sorted(self.valid),
            "quarantined": self.quarantine.height,
            "errors": [asdict(error) for error in self.errors],
        }


@dataclass(frozen=True, kw_only=True)
class _Violation:
    """One rule that one partition breaks."""

    partition: str
    column: str
    rule: str
    count: int
    examples: tuple[str, ...]
    rows: tuple[int, ...] | None
    """The rows that break the rule; None where the rule is of the whole table."""


def check_table(
    table: Table, partitions: Mapping[str, pl.DataFrame], *, listed_examples: int
) -> ValidationResult:
    """Validate all partitions of one table.

    Args:
        table: its schema, key and time column.
        partitions: the raw rows by partition name, in the order of the names.
        listed_examples: how many offending values an error lists.
    """
    violations: list[_Violation] = []
    valid, quarantined = {}, []
    for name, frame in partitions.items():
        of_partition = list(_check_partition(table, name, frame, listed_examples))
        violations += of_partition
        valid[name], bad = _separate(frame, name, of_partition)
        quarantined.append(bad)
    if not any(violation.rows is None for violation in violations):
        violations += _check_keys(table, partitions, listed_examples)
        violations += _check_order(table, partitions)
    quarantine = pl.concat(quarantined, how="diagonal_relaxed") if quarantined else pl.DataFrame()
    return ValidationResult(
        valid=valid,
        quarantine=quarantine,
        errors=_errors(table.name, violations, listed_examples),
        rows=sum(frame.height for frame in partitions.values()),
    )


def _check_partition(
    table: Table, name: str, frame: pl.DataFrame, listed: int
) -> Iterator[_Violation]:
    if frame.is_empty():
        yield _Violation(
            partition=name, column="", rule="not_empty", count=1, examples=("0 rows",), rows=None
        )
    try:
        table.schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        violations = list(_violations(name, errors.failure_cases, listed))
        of_shape = [violation for violation in violations if violation.rule.startswith(SHAPE)]
        yield from of_shape or violations


def _violations(name: str, cases: pl.DataFrame, listed: int) -> Iterator[_Violation]:
    """Pandera's failure cases, grouped by column and rule."""
    for (column, rule), group in cases.group_by(["column", "check"], maintain_order=True):
        rows = group["index"].drop_nulls()
        values = group["failure_case"].cast(pl.String).fill_null("null")
        yield _Violation(
            partition=name,
            column=str(column or ""),
            rule=str(rule),
            count=group.height,
            examples=tuple(values.unique(maintain_order=True).head(listed)),
            rows=tuple(rows) if rows.len() == group.height else None,
        )


def _separate(
    frame: pl.DataFrame, name: str, violations: list[_Violation]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The valid rows, and the others with the rules that they break."""
    rules: dict[int, list[str]] = defaultdict(list)
    for violation in violations:
        for row in violation.rows or ():
            rules[row].append(
                f"{violation.column}: {violation.rule}" if violation.column else violation.rule
            )
    rows = sorted(rules)
    labels = pl.DataFrame(
        {
            "partition": pl.Series([name] * len(rows), dtype=pl.String),
            ROW: pl.Series(rows, dtype=pl.UInt32),
            RULES: pl.Series(["; ".join(rules[row]) for row in rows], dtype=pl.String),
        }
    )
    bad = pl.concat([labels, frame[rows]], how="horizontal")
    kept = pl.Series([True]).new_from_index(0, frame.height).scatter(rows, False)
    return (frame.filter(kept) if rows else frame), bad


def _check_keys(
    table: Table, partitions: Mapping[str, pl.DataFrame], listed: int
) -> Iterator[_Violation]:
    """Rows with the same key, in one partition or in several."""
    keys = pl.concat(
        [
            frame.select(table.key).with_columns(pl.lit(name).alias("_partition"))
            for name, frame in partitions.items()
        ]
    )
    duplicates = keys.filter(keys.select(table.key).is_duplicated())
    for (name,), group in duplicates.group_by("_partition", maintain_order=True):
        examples = group.select(table.key).unique(maintain_order=True).head(listed)
        yield _Violation(
            partition=str(name),
            column=", ".join(table.key),
            rule="key is unique",
            count=group.height,
            examples=tuple(" ".join(map(str, row)) for row in examples.rows()),
            rows=None,
        )


def _check_order(table: Table, partitions: Mapping[str, pl.DataFrame]) -> Iterator[_Violation]:
    """Partitions that begin before the end of the previous one."""
    if table.time is None:
        return
    previous: tuple[str, Any] | None = None
    for name, frame in partitions.items():
        times = frame[table.time].drop_nulls()
        if times.is_empty():
            continue
        first: Any = times.min()
        last: Any = times.max()
        if previous is not None and first < previous[1]:
            yield _Violation(
                partition=name,
                column=table.time,
                rule="partitions follow each other in time",
                count=int((times < previous[1]).sum()),
                examples=(f"begins {first}, before the end of {previous[0]} at {previous[1]}",),
                rows=None,
            )
        previous = (name, last)


def _errors(table: str, violations: list[_Violation], listed: int) -> tuple[SchemaError, ...]:
    """One error for each rule, over all partitions that break it."""
    groups: dict[tuple[str, str, bool], list[_Violation]] = defaultdict(list)
    for violation in violations:
        groups[violation.column, violation.rule, violation.rows is None].append(violation)
    return tuple(
        SchemaError(
            table=table,
            column=column,
            rule=rule,
            level="table" if whole_table else "row",
            count=sum(violation.count for violation in group),
            partitions=tuple(violation.partition for violation in group),
            examples=tuple(dict.fromkeys(e for v in group for e in v.examples))[:listed],
        )
        for (column, rule, whole_table), group in groups.items()
    )


def _shortened(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]} ({len(names)})"
