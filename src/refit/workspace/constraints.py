"""The packages that are installed, held to constraints.txt."""

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement


def pinned(path: Path) -> dict[str, Requirement]:
    """The requirements of a constraints file by name; comments and empty lines do not count."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    requirements = (Requirement(line) for line in lines if line)
    return {requirement.name: requirement for requirement in requirements}


def installed(name: str) -> str | None:
    """The version without a build's label such as +cpu; None when the package is missing."""
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def differing(path: Path) -> tuple[str, ...]:
    """What is missing or has another version than the file says, a phrase for each."""
    found = []
    for name, wanted in pinned(path).items():
        version = installed(name)
        if version is None:
            found.append(f"{name} is missing")
        elif not wanted.specifier.contains(version, prereleases=True):
            found.append(f"{name} {version}, pinned {wanted.specifier}")
    return tuple(found)
