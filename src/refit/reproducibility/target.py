"""The version or commit that is to be reproduced, by the name that a person types."""

from dataclasses import dataclass
from pathlib import Path

from refit.core.errors import RegistryError
from refit.registry.registry import Registry
from refit.registry.resolve import by_number_or_alias
from refit.registry.version import Version
from refit.workspace import git, machine
from refit.workspace.machine import Machine


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be reproduced."""

    commit: str
    version: Version | None
    """None if only a commit was named."""
    machine: Machine | None
    """Where the version was made; None if only a commit was named."""


def find_target(root: Path, registry: Registry, name: str) -> Target:
    """The target with this name: a version's number or alias, or a commit.

    Raises:
        RegistryError: there is no such version or commit, or this repository lacks the commit.
    """
    version = by_number_or_alias(registry, name)
    return _of_commit(root, name) if version is None else _of_version(root, registry, version)


def _of_commit(root: Path, name: str) -> Target:
    commit = git.resolve(root, name)
    if commit is None:
        raise RegistryError(
            f"there is no version or commit `{name}`",
            expected="a number, an alias such as @champion, or a commit",
            do="`refit status` names the champion; `refit pull` fetches the commits of others",
        )
    return Target(commit=commit, version=None, machine=None)


def _of_version(root: Path, registry: Registry, version: Version) -> Target:
    lineage = registry.artifacts.lineage(version)
    commit = git.resolve(root, lineage["commit"]["commit"])
    if commit is None:
        raise RegistryError(
            f"the commit of version {version.number} is not in this repository",
            got=f"no commit {lineage['commit']['commit'][:12]}",
            do="`refit pull` fetches it if it was sent with `refit push`",
        )
    return Target(commit=commit, version=version, machine=machine.parse(lineage["machine"]))
