"""Git objects that are computed here and written in a few processes, whatever their number.

An object's id is the digest of its bytes, so the ids of a line of commits are known without Git.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from refit.core.errors import SetupError
from refit.workspace import git

Kind = Literal["blob", "tree", "commit"]
KINDS: tuple[Kind, ...] = ("blob", "tree", "commit")
"""In an order in which what an object names is written before it."""


@dataclass(frozen=True, kw_only=True)
class GitObject:
    """One object."""

    kind: Kind
    content: bytes
    algorithm: str
    """Of the repository's ids: `sha1` or `sha256`."""

    @cached_property
    def id(self) -> str:
        """Its name in Git."""
        head = f"{self.kind} {len(self.content)}\0".encode()
        return hashlib.new(self.algorithm, head + self.content, usedforsecurity=False).hexdigest()


def algorithm(root: Path) -> str | None:
    """The digest that names the repository's objects; None without a repository or without Git."""
    try:
        return git.ask(root, "rev-parse", "--show-object-format")
    except SetupError:
        return None


def write(root: Path, objects: Sequence[GitObject], *, apart: Path | None = None) -> None:
    """Write the objects into the repository, or into a folder apart from it.

    Raises:
        SetupError: Git cannot write them.
    """
    with tempfile.TemporaryDirectory(prefix="refit-objects-") as folder:
        for kind in KINDS:
            names = []
            for number, each in enumerate(each for each in objects if each.kind == kind):
                path = Path(folder) / f"{kind}-{number}"
                path.write_bytes(each.content)
                names.append(str(path))
            if names:
                arguments = ("hash-object", "-t", kind, "-w", "--no-filters", "--stdin-paths")
                git.run(root, *arguments, stdin="\n".join(names) + "\n", more=_apart(root, apart))


def missing(root: Path, ids: Sequence[str]) -> frozenset[str]:
    """Those of the objects that the repository does not have."""
    lines = git.run(root, "cat-file", "--batch-check", stdin="\n".join(ids) + "\n").splitlines()
    return frozenset(line.split(" ")[0] for line in lines if line.endswith(" missing"))


@contextmanager
def written_apart(root: Path, objects: Sequence[GitObject]) -> Iterator[Mapping[str, str]]:
    """Environment variables with which Git sees the objects; the repository never has them."""
    with tempfile.TemporaryDirectory(prefix="refit-apart-") as folder:
        write(root, objects, apart=Path(folder))
        yield _apart(root, Path(folder))


def _apart(root: Path, folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    own = root / git.run(root, "rev-parse", "--git-path", "objects")
    return {
        "GIT_OBJECT_DIRECTORY": str(folder),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(own.resolve()),
    }
