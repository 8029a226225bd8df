"""The installed packages, compared with constraints.txt."""

import functools
import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement


def pinned(path: Path) -> dict[str, Requirement]:
    """The requirements of a constraints file by name; comments and empty lines do not count."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    requirements = (Requirement(line) for line in lines if line)
    return {requirement.name: requirement for requirement in requirements}


@functools.cache
def installed(name: str) -> str | None:
    """The version without a local label such as +cpu; None when the package is missing."""
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def differing(path: Path) -> tuple[str, ...]:
    """The packages that are missing or have another version than the file, a phrase for each."""
    phrases = []
    for name, pin in pinned(path).items():
        version = installed(name)
        if version is None:
            phrases.append(f"{name} is missing")
        elif not pin.specifier.contains(version, prereleases=True):
            phrases.append(f"{name} {version}, pinned {pin.specifier}")
    return tuple(phrases)
