"""The validation report of a version's raw tables, as rows that a person reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refit.review.formatting import span

STABLE, SHIFT = 0.1, 0.25
"""Usual bounds of the population stability index, see refit.data.drift."""


@dataclass(frozen=True, kw_only=True)
class SchemaError:
    """A rule that raw rows break."""

    where: str
    rule: str
    count: int
    partitions: str
    examples: str


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far the newest partitions of a column differ from the earlier ones."""

    column: str
    psi: float
    missing_before: float
    missing_recent: float

    @property
    def word(self) -> str:
        """`stable`, `some` or `shift`."""
        if self.psi < STABLE:
            return "stable"
        return "some" if self.psi < SHIFT else "shift"


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """The validation of one raw table."""

    name: str
    rows: int
    partitions: str
    removed: int
    """Rows that broke a rule about what is known with the row."""
    emptied: int
    """Rows that broke a rule about their outcomes, and were kept without these."""
    errors: tuple[SchemaError, ...]
    drift: tuple[Drift, ...]

    def share(self, count: int) -> float:
        """The share of the rows."""
        return count / self.rows if self.rows else 0.0


def tables(validation: Mapping[str, Any] | None) -> tuple[TableReport, ...]:
    """The validation report, table by table."""
    return tuple(_table(name, report) for name, report in (validation or {}).items())


def _table(name: str, report: Mapping[str, Any]) -> TableReport:
    return TableReport(
        name=name,
        rows=report["rows"],
        partitions=span(report["partitions"]),
        removed=report["removed"],
        emptied=report["emptied"],
        errors=tuple(map(_error, report["errors"])),
        drift=tuple(Drift(**column) for column in report["drift"]),
    )


def _error(recorded: Mapping[str, Any]) -> SchemaError:
    return SchemaError(
        where=recorded["column"] or "(the whole table)",
        rule=recorded["rule"],
        count=recorded["count"],
        partitions=span(recorded["partitions"]),
        examples=", ".join(recorded["examples"]),
    )
