"""Validation of raw partitions against their pandera schemas: every fault, each with its rule.

A rule that a single row can break puts that row into quarantine; a rule of the whole table (a
missing column, a wrong type, an empty table, duplicate keys, partitions out of order) fails the
table. pandera checks only the schema of a LazyFrame, so tables are validated as DataFrames; keys
are compared here, in one pass, because pandera's `unique` is the slowest of its rules.
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
"""Rules of the table's shape. Where one is broken, the others only fail to run and are left out."""
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
    listed_examples: int = param("values listed for each fault in the report", minimum=1)
    recent_partitions: int = param(
        "newest partitions whose distributions are compared with all the earlier ones", minimum=1
    )


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One rule broken in one table, with how often, where and by which values."""

    table: str
    column: str
    rule: str
    level: Literal["row", "table"]
    count: int
    partitions: tuple[str, ...]
    examples: tuple[str, ...]

    def sentence(self) -> str:
        """The fault as a reader wants it."""
        where = f"{self.table}.{self.column}" if self.column else self.table
        shown = ", ".join(self.examples)
        return (
            f"{where} breaks `{self.rule}` {self.count:,} time{'s' * (self.count > 1)}"
            f" in {_few(self.partitions)} (for example {shown})"
        )


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A table after validation."""

    valid: dict[str, pl.DataFrame]
    """The rows that keep every rule, by partition."""
    quarantine: pl.DataFrame
    """The other rows: partition, row (from 0 in its file), rules, then the raw columns."""
    faults: tuple[Fault, ...]
    rows: int

    @property
    def failed(self) -> bool:
        """Whether a rule of the whole table is broken."""
        return any(fault.level == "table" for fault in self.faults)

    @property
    def share(self) -> float:
        """The share of rows in quarantine."""
        return self.quarantine.height / self.rows if self.rows else 0.0

    def report(self) -> dict[str, Any]:
        """What validation.json says of this table."""
        return {
            "rows": self.rows,
            "partitions": sorted(self.valid),
            "quarantined": self.quarantine.height,
            "faults": [asdict(fault) for fault in self.faults],
        }


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """Rows of one partition (or the partition itself: rows None) that break one rule."""

    partition: str
    column: str
    rule: str
    count: int
    examples: tuple[str, ...]
    rows: tuple[int, ...] | None


def check_table(
    table: Table, partitions: Mapping[str, pl.DataFrame], *, listed_examples: int
) -> Checked:
    """Validate all partitions of one table.

    Args:
        table: its schema, key and time column.
        partitions: the raw rows by partition name, in the order of the names.
        listed_examples: how many offending values a fault lists.
    """
    findings: list[_Finding] = []
    valid, quarantined = {}, []
    for name, frame in partitions.items():
        found = list(_check_partition(table, name, frame, listed_examples))
        findings += found
        good, bad = _part(frame, name, found)
        valid[name] = good
        quarantined.append(bad)
    if not any(finding.rows is None for finding in findings):
        findings += _check_keys(table, partitions, listed_examples)
        findings += _check_order(table, partitions)
    quarantine = pl.concat(quarantined, how="diagonal_relaxed") if quarantined else pl.DataFrame()
    return Checked(
        valid=valid,
        quarantine=quarantine,
        faults=_faults(table.name, findings, listed_examples),
        rows=sum(frame.height for frame in partitions.values()),
    )


def _check_partition(
    table: Table, name: str, frame: pl.DataFrame, listed: int
) -> Iterator[_Finding]:
    if frame.is_empty():
        yield _Finding(
            partition=name, column="", rule="not_empty", count=1, examples=("0 rows",), rows=None
        )
    try:
        table.schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        found = list(_findings(name, errors.failure_cases, listed))
        shape = [finding for finding in found if finding.rule.startswith(SHAPE)]
        yield from shape or found


def _findings(name: str, cases: pl.DataFrame, listed: int) -> Iterator[_Finding]:
    """Pandera's failure cases, gathered by column and rule."""
    rules = ["column", "check"]
    for (column, rule), group in cases.group_by(rules, maintain_order=True):
        rows = group["index"].drop_nulls()
        values = group["failure_case"].cast(pl.String).fill_null("null")
        yield _Finding(
            partition=name,
            column=str(column or ""),
            rule=str(rule),
            count=group.height,
            examples=tuple(values.unique(maintain_order=True).head(listed)),
            rows=tuple(rows) if rows.len() == group.height else None,
        )


def _part(
    frame: pl.DataFrame, name: str, findings: list[_Finding]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that keep every rule, and the others with the rules that they broke."""
    broken: dict[int, list[str]] = defaultdict(list)
    for finding in findings:
        for row in finding.rows or ():
            broken[row].append(
                f"{finding.column}: {finding.rule}" if finding.column else finding.rule
            )
    rows = sorted(broken)
    labels = pl.DataFrame(
        {
            "partition": pl.Series([name] * len(rows), dtype=pl.String),
            ROW: pl.Series(rows, dtype=pl.UInt32),
            RULES: pl.Series(["; ".join(broken[row]) for row in rows], dtype=pl.String),
        }
    )
    bad = pl.concat([labels, frame[rows]], how="horizontal")
    kept = pl.Series([True]).new_from_index(0, frame.height).scatter(rows, False)
    return (frame.filter(kept) if rows else frame), bad


def _check_keys(
    table: Table, partitions: Mapping[str, pl.DataFrame], listed: int
) -> Iterator[_Finding]:
    """Two rows with the same key, in one partition or in two."""
    keys = pl.concat(
        [
            frame.select(table.key).with_columns(pl.lit(name).alias("_partition"))
            for name, frame in partitions.items()
        ]
    )
    twice = keys.filter(keys.select(table.key).is_duplicated())
    for (name,), group in twice.group_by("_partition", maintain_order=True):
        shown = group.select(table.key).unique(maintain_order=True).head(listed)
        yield _Finding(
            partition=str(name),
            column=", ".join(table.key),
            rule="key is unique",
            count=group.height,
            examples=tuple(" ".join(map(str, row)) for row in shown.rows()),
            rows=None,
        )


def _check_order(table: Table, partitions: Mapping[str, pl.DataFrame]) -> Iterator[_Finding]:
    """A partition that begins before the one before it has ended."""
    if table.time is None:
        return
    before: tuple[str, Any] | None = None
    for name, frame in partitions.items():
        times = frame[table.time].drop_nulls()
        if times.is_empty():
            continue
        first: Any = times.min()
        last: Any = times.max()
        if before is not None and first < before[1]:
            yield _Finding(
                partition=name,
                column=table.time,
                rule="partitions follow each other in time",
                count=int((times < before[1]).sum()),
                examples=(f"begins {first}, before the end of {before[0]} at {before[1]}",),
                rows=None,
            )
        before = (name, last)


def _faults(table: str, findings: list[_Finding], listed: int) -> tuple[Fault, ...]:
    groups: dict[tuple[str, str, bool], list[_Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.column, finding.rule, finding.rows is None].append(finding)
    return tuple(
        Fault(
            table=table,
            column=column,
            rule=rule,
            level="table" if whole else "row",
            count=sum(finding.count for finding in group),
            partitions=tuple(finding.partition for finding in group),
            examples=tuple(dict.fromkeys(e for f in group for e in f.examples))[:listed],
        )
        for (column, rule, whole), group in groups.items()
    )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]} ({len(names)})"
