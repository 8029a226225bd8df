"""Finds a version by the name that a person types: a number, an alias, a run or a commit."""

import re
from pathlib import Path

from refit.core.errors import RegistryError
from refit.registry.aliases import CHAMPION, expected_aliases
from refit.registry.registry import Registry
from refit.registry.version import COMMIT, Version
from refit.workspace import git

FORMS = "a number, an alias such as @champion, a run of MLflow, or a commit"
LONGEST_NUMBER = 6
"""Digits of a version's number; seven digits or more may be the start of a commit."""


def find(root: Path, registry: Registry, name: str | None) -> Version:
    """The version with this name; without a name, the newest version.

    Raises:
        RegistryError: there is none, or the registry cannot be reached.
    """
    if name is None:
        return _newest(registry)
    version = by_number_or_alias(registry, name)
    if version is not None:
        return version
    versions = registry.versions.all()
    of_run = [version for version in versions if version.run == name]
    matches = of_run or _of_commit(root, versions, name)
    if matches:
        return matches[-1]
    raise RegistryError(
        f"no version is called `{name}`",
        where=f"registered model {registry.name}",
        got=f"{len(versions)} versions, none of that run or commit",
        expected=FORMS,
        do="look up its number with `refit history`, or in MLflow",
    )


def by_number_or_alias(registry: Registry, name: str) -> Version | None:
    """The version with this number or `@alias`; None if the name is neither.

    Raises:
        RegistryError: the name is one of these, but there is no such version.
    """
    if name.startswith("@"):
        return _by_alias(registry, name.removeprefix("@"))
    if name.isdigit() and len(name) <= LONGEST_NUMBER:
        return registry.versions.get(int(name))
    return None


def _by_alias(registry: Registry, alias: str) -> Version:
    """The version of an alias: by the ledger where it decides, otherwise as the alias is set."""
    expected = expected_aliases(registry.ledger.read())
    number = expected[alias] if alias in expected else registry.aliases.get(alias)
    if number is not None:
        return registry.versions.get(number)
    raise RegistryError(
        f"no version has the alias @{alias}",
        where=f"registered model {registry.name}",
        expected=f"an alias that is set, such as @{CHAMPION}",
        do="name the version by its number; `refit status` names the champion",
    )


def _newest(registry: Registry) -> Version:
    versions = registry.versions.all()
    if versions:
        return versions[-1]
    raise RegistryError(
        "there is no version yet",
        where=f"registered model {registry.name}",
        got="no registered version",
        do="`refit run` trains one and decides about it",
    )


def _of_commit(root: Path, versions: list[Version], name: str) -> list[Version]:
    """Versions that were made from this commit, even if this repository does not have it."""
    commit = git.resolve(root, name)
    if commit is None and not re.fullmatch(r"[0-9a-f]{7,40}", name):
        return []
    prefix = commit or name
    return [version for version in versions if version.tags.get(COMMIT, "").startswith(prefix)]
