"""What changed between two versions: data, code, parameters, packages, machine.

All of it is read from their lineages and validation reports; commits and changed files come from
Git where both commits are here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refit.review.stored import Kept
from refit.workspace import git

OWN_FILES = frozenset({"params.yaml", "dvc.lock", "constraints.txt", "raw.dvc"})
"""Files whose changes are told in words of their own."""
VERBS = {"A": "added", "D": "removed", "M": "changed", "T": "changed"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that differs; empty where a side has none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Code:
    """How the code came from the one to the other; None where Git has not both commits."""

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


def between(root: Path, old: Kept, new: Kept) -> Changes | None:
    """What changed from `old` to `new`; None where a lineage is missing."""
    if old.lineage is None or new.lineage is None:
        return None
    before, after = old.lineage, new.lineage
    return Changes(
        before=old.label,
        after=new.label,
        partitions=_partitions(before.get("data", {}), after.get("data", {})),
        rows=_differences(_rows(old), _rows(new)) if old.validation and new.validation else (),
        code=_code(root, before, after),
        params=_differences(_flat(before.get("params")), _flat(after.get("params"))),
        packages=_differences(_packages(before), _packages(after)),
        machine=_differences(_machine(before), _machine(after)),
    )


def _partitions(
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> tuple[tuple[str, str], ...]:
    found = [("added", path) for path in after.keys() - before.keys()]
    found += [("removed", path) for path in before.keys() - after.keys()]
    found += [("changed", p) for p in before.keys() & after.keys() if before[p] != after[p]]
    return tuple(sorted(found, key=lambda pair: pair[::-1]))


def _rows(kept: Kept) -> dict[str, str]:
    report = kept.validation or {}
    return {name: f"{table['rows']:,}" for name, table in report.items()}


def _code(root: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> Code:
    old, new = before["commit"], after["commit"]
    told = git.changed(root, old["commit"], new["commit"])
    files = None
    if told is not None:
        files = tuple(
            (VERBS.get(mark, mark), path) for mark, path in told if Path(path).name not in OWN_FILES
        )
    commits = None
    if old["parent"] and new["parent"]:
        commits = git.log(root, old["parent"], new["parent"])
    return Code(before=old["commit"], after=new["commit"], commits=commits, files=files)


def _packages(lineage: Mapping[str, Any]) -> dict[str, str]:
    named = {str(name): str(number) for name, number in lineage.get("packages", {}).items()}
    all_of_them = str(lineage.get("constraints", ""))[:12]
    return {**named, "Python": str(lineage.get("python", "")), "constraints.txt": all_of_them}


def _machine(lineage: Mapping[str, Any]) -> dict[str, str]:
    found = {name: _text(value) for name, value in lineage.get("machine", {}).items()}
    return found | {"determinism": str(lineage.get("determinism", {}).get("level", ""))}


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """`section.name` -> value, for every leaf."""
    if not isinstance(value, Mapping):
        return {prefix: _text(value)} if prefix else {}
    found: dict[str, str] = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{prefix}.{name}" if prefix else str(name))
    return found


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Difference, ...]:
    names = dict.fromkeys([*before, *after])
    return tuple(
        Difference(name=name, before=before.get(name, ""), after=after.get(name, ""))
        for name in names
        if before.get(name) != after.get(name)
    )
