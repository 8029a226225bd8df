"""Versions by the names that people give them: a number, an alias, a run of MLflow, a commit."""

import re
from pathlib import Path

from refit.core.errors import RegistryError
from refit.registry.client import CHAMPION, Registry, Version
from refit.workspace import git

COMMIT = "refit.commit"
"""The tag that says which commit a version was made of."""
FORMS = "a number, an alias such as @champion, a run of MLflow, or a commit"


def find(root: Path, registry: Registry, name: str | None) -> Version:
    """The version of a name; of none, the newest one that was decided about.

    Raises:
        RegistryError: there is none, or the registry cannot be reached.
    """
    if name is None:
        return _newest(registry)
    if name.startswith("@"):
        return _aliased(registry, name)
    if name.isdigit() and len(name) < 7:
        return registry.version(int(name))
    versions = registry.versions()
    of_run = [version for version in versions if version.run == name]
    if of_run:
        return of_run[-1]
    of_commit = _of_commit(root, versions, name)
    if of_commit:
        return of_commit[-1]
    raise RegistryError(
        f"no version is called `{name}`",
        where=f"registered model {registry.name}",
        got=f"{len(versions)} versions, none of that run or commit",
        expected=FORMS,
        do="look for its number in MLflow, or with `refit status`",
    )


def _newest(registry: Registry) -> Version:
    versions = registry.versions()
    if versions:
        return versions[-1]
    raise RegistryError(
        "there is no version to review",
        where=f"registered model {registry.name}",
        got="no registered version",
        do="`refit run` trains one and decides about it",
    )


def _aliased(registry: Registry, name: str) -> Version:
    found = registry.named(name.removeprefix("@"))
    if found is not None:
        return found
    raise RegistryError(
        f"no version has the alias {name}",
        where=f"registered model {registry.name}",
        expected=f"an alias that is set, such as @{CHAMPION}",
        do="name the version by its number, or let `refit run` decide about a champion",
    )


def _of_commit(root: Path, versions: list[Version], name: str) -> list[Version]:
    """Versions that were made of this commit, also where it is not here."""
    known = git.resolve(root, name)
    if known is None and not re.fullmatch(r"[0-9a-f]{7,40}", name):
        return []
    sought = known or name
    return [v for v in versions if v.tags.get(COMMIT, "").startswith(sought)]
