"""What changed between two versions: data, code, parameters, packages, machine.

Everything is read from their lineages and validation reports, except commits and changed files,
which come from Git if both commits are in this repository.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refit.review.stored import StoredVersion
from refit.workspace import git

LISTED_SEPARATELY = frozenset({"params.yaml", "dvc.lock", "constraints.txt", "raw.dvc"})
"""Files whose changes are listed as parameters, packages or data, not as code."""
VERBS = {"A": "added", "D": "removed", "M": "changed", "T": "changed"}
"""Git's letter for a change, in words."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that differs; empty where a side has none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Code:
    """The difference in code; None where Git does not have both commits."""

    before: str
    after: str
    commits: tuple[tuple[str, str], ...] | None
    """Id and subject, newest first."""
    files: tuple[tuple[str, str], ...] | None
    """What happened to a file, and its path."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """From the rival to the version."""

    before: str
    after: str
    partitions: tuple[tuple[str, str], ...]
    """What happened to a raw partition, and its path."""
    rows: tuple[Difference, ...]
    """Raw rows by table."""
    code: Code
    params: tuple[Difference, ...]
    packages: tuple[Difference, ...]
    machine: tuple[Difference, ...]


def between(root: Path, old: StoredVersion, new: StoredVersion) -> Changes | None:
    """What changed from `old` to `new`; None if a lineage is missing."""
    if old.lineage is None or new.lineage is None:
        return None
    before, after = old.lineage, new.lineage
    return Changes(
        before=old.label,
        after=new.label,
        partitions=_partitions(before["data"], after["data"]),
        rows=_differences(_rows(old), _rows(new)) if old.validation and new.validation else (),
        code=_code(root, before["commit"], after["commit"]),
        params=_differences(_leaves(before["params"]), _leaves(after["params"])),
        packages=_differences(_packages(before), _packages(after)),
        machine=_differences(_machine(before), _machine(after)),
    )


def _partitions(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Partitions by path, each with what happened to it; the values are digests."""
    changes = [("added", path) for path in after.keys() - before.keys()]
    changes += [("removed", path) for path in before.keys() - after.keys()]
    changes += [("changed", p) for p in before.keys() & after.keys() if before[p] != after[p]]
    return tuple(sorted(changes, key=lambda change: change[::-1]))


def _rows(version: StoredVersion) -> dict[str, str]:
    report = version.validation or {}
    return {name: f"{table['rows']:,}" for name, table in report.items()}


def _code(root: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Code:
    changed = git.changed(root, old["commit"], new["commit"])
    files = None
    if changed is not None:
        files = tuple(
            (VERBS.get(letter, letter), path)
            for letter, path in changed
            if Path(path).name not in LISTED_SEPARATELY
        )
    commits = None
    if old["parent"] and new["parent"]:
        commits = git.log(root, old["parent"], new["parent"])
    return Code(before=old["commit"], after=new["commit"], commits=commits, files=files)


def _packages(lineage: Mapping[str, Any]) -> dict[str, str]:
    constraints = {"Python": lineage["python"], "constraints.txt": lineage["constraints"][:12]}
    return {**lineage["packages"], **constraints}


def _machine(lineage: Mapping[str, Any]) -> dict[str, str]:
    machine = {name: _text(value) for name, value in lineage["machine"].items()}
    return machine | {"determinism": lineage["determinism"]["level"]}


def _leaves(value: Any, prefix: str = "") -> dict[str, str]:
    """`section.name` -> value, for every leaf of the parameters."""
    if not isinstance(value, Mapping):
        return {prefix: _text(value)}
    leaves: dict[str, str] = {}
    for name, inner in value.items():
        leaves |= _leaves(inner, f"{prefix}.{name}" if prefix else str(name))
    return leaves


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Difference, ...]:
    names = dict.fromkeys([*before, *after])
    return tuple(
        Difference(name=name, before=before.get(name, ""), after=after.get(name, ""))
        for name in names
        if before.get(name) != after.get(name)
    )
