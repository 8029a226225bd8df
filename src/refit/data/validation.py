"""Validation of raw partitions against their pandera schemas: every error, with the rule it broke.

A row that breaks a rule goes into quarantine with its original values. If the rule is about what
is known with the row, the row is removed. If it is about an outcome, the row stays, without its
outcomes from that moment on: features of earlier moments must not depend on what is known later
(see `refit.data.row_rules`). A rule of the whole table fails the table: a missing column, a wrong
type, an empty partition, duplicate keys, partitions out of order. Keys are compared here, in one
pass over all partitions, because pandera's `unique` is the slowest of its rules.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import polars as pl

from refit.core.params import param
from refit.data import quarantine
from refit.data.row_rules import Violation, violations_by_partition
from refit.dataset import PARTITION, Table

Level = Literal["row", "outcome", "table"]


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
    level: Level
    """What the rule is about: what is known with the row, its outcomes, or the whole table."""
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
    """The rows that are kept, by partition, without outcomes that break a rule."""
    quarantine: pl.DataFrame
    """The rows that break a rule: partition, row (from 0 in its file), rules, row_action (what was
    done with it), then the raw columns as they came."""
    errors: tuple[SchemaError, ...]
    rows: int
    """Raw rows of all partitions."""

    @property
    def failed(self) -> bool:
        """Whether a rule of the whole table is broken."""
        return any(error.level == "table" for error in self.errors)

    @property
    def removed(self) -> int:
        """Rows in quarantine that were removed."""
        return self.rows - sum(frame.height for frame in self.valid.values())

    @property
    def emptied(self) -> int:
        """Rows in quarantine that are kept without some outcomes."""
        return self.quarantine.height - self.removed

    @property
    def quarantined_share(self) -> float:
        """The share of rows in quarantine, removed or without outcomes."""
        return self.quarantine.height / self.rows if self.rows else 0.0

    def report(self) -> dict[str, Any]:
        """The table's part of validation.json."""
        return {
            "rows": self.rows,
            "partitions": sorted(self.valid),
            "removed": self.removed,
            "emptied": self.emptied,
            "errors": [asdict(error) for error in self.errors],
        }


def check_table(
    table: Table, partitions: Mapping[str, pl.DataFrame], *, listed_examples: int
) -> ValidationResult:
    """Validate all partitions of one table.

    Args:
        table: its schema, key, time column and outcomes.
        partitions: the raw rows by partition name, in the order of the names.
        listed_examples: how many offending values an error lists.
    """
    violations: list[Violation] = []
    valid, quarantined = {}, []
    for name, of_partition in violations_by_partition(table, partitions, listed_examples):
        violations += of_partition
        moments = quarantine.first_moments(of_partition)
        valid[name] = quarantine.kept_rows(table, partitions[name], moments)
        quarantined.append(quarantine.bad_rows(table, name, partitions[name], of_partition))
    if not any(violation.rows is None for violation in violations):
        violations += _check_keys(table, partitions, listed_examples)
        violations += _check_order(table, partitions)
    return ValidationResult(
        valid=valid,
        quarantine=_joined(quarantined),
        errors=_errors(table.name, violations, listed_examples),
        rows=sum(frame.height for frame in partitions.values()),
    )


def _joined(quarantined: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows in quarantine of all partitions.

    A partition with other types than its table has no row here, and joins no other's columns.
    """
    bad = [frame for frame in quarantined if frame.height] or quarantined[:1]
    return pl.concat(bad, how="diagonal_relaxed") if bad else pl.DataFrame()


def _check_keys(
    table: Table, partitions: Mapping[str, pl.DataFrame], listed: int
) -> Iterator[Violation]:
    """Rows with the same key, in one partition or in several."""
    keys = pl.concat(
        [
            frame.select(table.key).with_columns(pl.lit(name).alias(PARTITION))
            for name, frame in partitions.items()
        ]
    )
    duplicates = keys.filter(keys.select(table.key).is_duplicated())
    for (name,), group in duplicates.group_by(PARTITION, maintain_order=True):
        examples = group.select(table.key).unique(maintain_order=True).head(listed)
        yield Violation(
            partition=str(name),
            column=", ".join(table.key),
            rule="key is unique",
            count=group.height,
            examples=tuple(" ".join(map(str, row)) for row in examples.rows()),
            rows=None,
        )


def _check_order(table: Table, partitions: Mapping[str, pl.DataFrame]) -> Iterator[Violation]:
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
            yield Violation(
                partition=name,
                column=table.time,
                rule="partitions follow each other in time",
                count=int((times < previous[1]).sum()),
                examples=(f"begins {first}, before the end of {previous[0]} at {previous[1]}",),
                rows=None,
            )
        previous = (name, last)


def _errors(table: str, violations: list[Violation], listed: int) -> tuple[SchemaError, ...]:
    """One error for each rule, over all partitions that break it."""
    groups: dict[tuple[str, str, Level], list[Violation]] = defaultdict(list)
    for violation in violations:
        groups[violation.column, violation.rule, _level(violation)].append(violation)
    return tuple(
        SchemaError(
            table=table,
            column=column,
            rule=rule,
            level=level,
            count=sum(violation.count for violation in group),
            partitions=tuple(violation.partition for violation in group),
            examples=tuple(dict.fromkeys(e for v in group for e in v.examples))[:listed],
        )
        for (column, rule, level), group in groups.items()
    )


def _level(violation: Violation) -> Level:
    if violation.rows is None:
        return "table"
    return "outcome" if violation.moment else "row"


def _shortened(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]} ({len(names)})"
