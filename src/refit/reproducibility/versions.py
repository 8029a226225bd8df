"""Registered versions by the names that people give them: `3`, `@champion`, or a commit."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refit.core.errors import RegistryError
from refit.dataset import REFERENCE
from refit.registry.client import DIFFERS, GRADE, REPRODUCED, Registry, Version
from refit.reproducibility.reproduce import GRADES, Reproduction, Target
from refit.workspace import git, machine


def find(root: Path, name: str) -> Version | None:
    """The version of a number or an alias; None when the name is of neither kind.

    Raises:
        RegistryError: there is no such version, or the registry cannot be reached.
    """
    if not (name.startswith("@") or name.isdigit()):
        return None
    registry = Registry.of(root)
    if name.isdigit():
        return registry.version(int(name))
    found = registry.named(name[1:])
    if found is None:
        raise RegistryError(
            f"no version has the alias {name}",
            where=f"registered model {registry.name}",
            do="`refit run` trains and decides; `refit status` says what is champion",
        )
    return found


def lineage(root: Path, version: Version) -> dict[str, Any]:
    """The version's lineage.json.

    Raises:
        RegistryError: the version was registered without one.
    """
    told = Registry.of(root).lineage(version)
    if "commit" not in told:
        raise RegistryError(
            f"version {version.number} was registered before versions kept their lineage",
            got="no commit",
            do="train again: the next version can be made again by anyone",
        )
    return told


def target(root: Path, name: str) -> Target:
    """What is to be made again under this name.

    Raises:
        RegistryError: there is no such version or commit, or the commit is not here.
    """
    version = find(root, name)
    if version is None:
        commit = git.resolve(root, name)
        if commit is None:
            raise RegistryError(
                f"there is no version or commit `{name}`",
                expected="a number, an alias such as @champion, or a commit",
                do="`refit status` names the champion; `refit pull` brings others' commits",
            )
        return Target(commit=commit, digest=None, machine=None)
    told = lineage(root, version)
    commit = git.resolve(root, told["commit"]["commit"])
    if commit is None:
        raise RegistryError(
            f"the commit of version {version.number} is not in this repository",
            got=f"no commit {told['commit']['commit'][:12]}",
            do="`refit pull` brings it where somebody has sent it with `refit push`",
        )
    return Target(commit=commit, digest=version.digest, machine=machine.parse(told["machine"]))


def record(root: Path, version: Version, made: Reproduction) -> None:
    """Write onto the version what a reproduction reached, or that it came out otherwise."""
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(made.made_on),
        "seconds": round(made.seconds, 1),
        "threads": made.threads,
    }
    if made.grade is None:
        first = made.differences[0]
        found |= {"stage": first.stage, "path": first.path, "how": first.lines[:3]}
        Registry.of(root).note(version, {DIFFERS: json.dumps(found, sort_keys=True)})
        return
    best = max((made.grade, version.tags.get(GRADE, made.grade)), key=_rank)
    Registry.of(root).note(
        version,
        {REPRODUCED + made.grade: json.dumps(found, sort_keys=True), GRADE: best},
    )


def lines(told: Mapping[str, Any], version: Version) -> list[str]:
    """A lineage as a person reads it."""
    commit, on = told["commit"], told["machine"]
    held = "the user's own" if commit["clean"] else f"made on {(commit['parent'] or 'no')[:12]}"
    seconds = ", ".join(f"{stage} {value:g} s" for stage, value in told["seconds"].items())
    seeds = ", ".join(f"{name} {value}" for name, value in told["seeds"].items())
    packages = ", ".join(f"{name} {number}" for name, number in told["packages"].items())
    level = told["determinism"].get("level", "any-x86")  # older versions knew no other
    sets = " ".join(on["instructions"])
    return [
        f"version    {version.number} of {told['dataset']}, bundle {told['digest'][:12]}",
        f"commit     {commit['commit']} ({held}), kept as {commit['ref']}",
        f"dvc.lock   {told['dvc_lock'][:12]}, constraints {told['constraints'][:12]}",
        f"data       {len(told['data'])} raw partitions, {_span(told['data'])}",
        f"seeds      {seeds}; determinism {level}",
        f"packages   {packages}, Python {told['python']}",
        *(f"not pinned {phrase}" for phrase in told["packages_not_as_pinned"]),
        f"machine    {on['processor']} ({on['vendor']}), {sets}, {on['libc']}",
        f"MLflow run {told['run']}",
        f"took       {seconds or 'not known: its stages were restored'}",
        f"grade      {version.tags.get(GRADE) or 'none yet: `refit reproduce` earns one'}",
    ]


def _span(data: Mapping[str, str]) -> str:
    names = sorted(Path(path).stem for path in data if Path(path).stem != REFERENCE)
    return f"{names[0]} to {names[-1]}" if names else "reference tables only"


def _rank(grade: str) -> int:
    return GRADES.index(grade) if grade in GRADES else -1
