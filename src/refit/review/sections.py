"""What a version says of its data, its making and its machine, as rows that a person reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refit.dataset import REFERENCE
from refit.registry.version import DIFFERS, GRADE, REPRODUCED, Version
from refit.review.stored import Kept

STABLE, SHIFT = 0.1, 0.25
"""Usual bounds of the population stability index, see refit.data.drift."""
UNGRADED = "not measured yet"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A rule that raw rows break."""

    where: str
    rule: str
    count: int
    partitions: str
    examples: str


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far a column's newest partitions lie from the earlier ones."""

    column: str
    psi: float
    word: str
    """`stable`, `some` or `shift`."""
    missing_before: float
    missing_recent: float


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """A raw table as validation found it."""

    name: str
    rows: int
    partitions: str
    quarantined: int
    faults: tuple[Fault, ...]
    drift: tuple[Drift, ...]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of a stage; None where it was restored, or nobody wrote them down."""

    stage: str
    own: float | None
    rival: float | None


def tables(validation: Mapping[str, Any] | None) -> tuple[TableReport, ...]:
    """The validation report, table by table."""
    return tuple(_table(name, told) for name, told in (validation or {}).items())


def _table(name: str, told: Mapping[str, Any]) -> TableReport:
    faults = tuple(
        Fault(
            where=found["column"] or "(the whole table)",
            rule=found["rule"],
            count=found["count"],
            partitions=span(found["partitions"]),
            examples=", ".join(found["examples"]),
        )
        for found in told["errors"]
    )
    drift = tuple(
        Drift(**{**found, "word": _word(found["psi"])}) for found in told.get("drift", ())
    )
    return TableReport(
        name=name,
        rows=told["rows"],
        partitions=span(told["partitions"]),
        quarantined=told["quarantined"],
        faults=faults,
        drift=drift,
    )


def _word(psi: float) -> str:
    if psi < STABLE:
        return "stable"
    return "some" if psi < SHIFT else "shift"


def span(names: list[str] | tuple[str, ...]) -> str:
    """`2013-01 to 2013-12 (12)` of names in the order of time."""
    ordered = sorted(names)
    if len(ordered) < 3:
        return ", ".join(ordered)
    return f"{ordered[0]} to {ordered[-1]} ({len(ordered)})"


def moment(milliseconds: int) -> str:
    """`2013-11-15 12:00 UTC` of milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def timings(own: Mapping[str, Any] | None, rival: Mapping[str, Any] | None) -> tuple[Timing, ...]:
    """Seconds of each stage, from the lineages."""
    mine, other = ((told or {}).get("seconds", {}) for told in (own, rival))
    return tuple(
        Timing(stage=stage, own=mine.get(stage), rival=other.get(stage))
        for stage in dict.fromkeys([*mine, *other])
    )


def grade(version: Version) -> str:
    """The grade of reproducibility, or that nobody has measured one."""
    return version.tags.get(GRADE) or UNGRADED


def reproductions(version: Version) -> tuple[str, ...]:
    """When and where the version was made again, and what came of it."""
    found = []
    for tag, text in sorted(version.tags.items()):
        if tag.startswith(REPRODUCED):
            told = json.loads(text)
            found.append(
                f"the same bytes at grade {tag.removeprefix(REPRODUCED)} on {told['at']}"
                f" ({told['machine']['processor']})",
            )
        elif tag == DIFFERS:
            told = json.loads(text)
            found.append(f"other bytes on {told['at']}, first in {told['path']}")
    return tuple(found)


def lineage(kept: Kept) -> tuple[tuple[str, str], ...]:
    """Where the version came from: a term and what it is."""
    told, version = kept.lineage, kept.version
    rows = [
        ("Registered", moment(version.created)),
        ("Bundle", version.digest),
        ("MLflow run", version.run),
    ]
    if told is not None:
        rows += _origin(told)
    return (*rows, ("Reproducibility", grade(version)))


def _origin(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    commit, on = told["commit"], told["machine"]
    parent = (commit["parent"] or "no commit")[:12]
    held = "the user's own" if commit["clean"] else f"the workspace as it ran, on top of {parent}"
    names = [Path(path).stem for path in told["data"]]
    partitions = sorted({name for name in names if name != REFERENCE})
    level = told["determinism"].get("level", "any-x86")  # older versions knew no other
    return [
        ("Commit", f"{commit['commit']} ({held})"),
        ("Kept as", commit["ref"]),
        ("dvc.lock", told["dvc_lock"]),
        ("Raw data", f"{len(names)} files, partitions {span(partitions)}"),
        ("Seeds", ", ".join(f"{name} {value}" for name, value in told["seeds"].items())),
        ("Determinism", level),
        ("Packages", ", ".join(f"{name} {number}" for name, number in told["packages"].items())),
        ("Not as pinned", "; ".join(told["packages_not_as_pinned"]) or "none"),
        ("Python", told["python"]),
        ("Processor", f"{on['processor']} ({on['vendor']}), {on['cores']} cores"),
        ("Instructions", " ".join(on["instructions"])),
        ("System", f"{on['system']}, {on['libc']}"),
    ]
