"""The commit that holds exactly what ran: found, or made without touching anything of the user's.

A clean workspace is its own commit. Of any other (changed files, or a run that has just written
dvc.lock) a commit object is made from an index of its own, so that branch, index and files stay as
they are; it needs no Git identity and carries the date of its parent, so that the same content
gives the same commit. A ref under refs/refit/ keeps it from being collected, and `refit push` takes
it along. Everything goes through the `git` program.
"""

import contextlib
import getpass
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from refit.core.errors import SetupError

REFS = "refs/refit"
LARGEST = 10 * 2**20
"""Bytes above which a file that Git neither tracks nor ignores is left out of the commit."""
WHO = "Refit"
MAIL = "refit@localhost"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A commit that holds the workspace as it is."""

    commit: str
    parent: str | None
    """The user's own commit: `commit` itself when nothing had changed; None before the first."""
    branch: str | None
    """None on a detached HEAD."""
    left_out: tuple[str, ...]
    """Files too large to be taken in, by path."""


def snapshot(root: Path) -> Snapshot:
    """The commit of the workspace around `root`, made if there is none.

    Raises:
        SetupError: there is no Git repository, or Git fails.
    """
    top = Path(_git(root, "rev-parse", "--show-toplevel"))
    head = _ask(root, "rev-parse", "--verify", "--quiet", "HEAD")
    branch = _ask(root, "symbolic-ref", "--short", "--quiet", "HEAD")
    left_out = _too_large(top)
    tree = _tree(top, head, left_out)
    if head is not None and _git(top, "rev-parse", f"{head}^{{tree}}") == tree:
        commit = head
    else:
        commit = _commit(top, tree, head)
    return Snapshot(commit=commit, parent=head, branch=branch, left_out=left_out)


def user(root: Path) -> str:
    """Who works here: the Git identity, `name <mail>`, or the login name where there is none."""
    name, mail = (_ask(root, "config", f"user.{part}") for part in ("name", "email"))
    if name:
        return f"{name} <{mail}>" if mail else name
    return getpass.getuser()


def keep(root: Path, commit: str, name: str) -> str:
    """Point refs/refit/NAME to the commit; returns the ref."""
    ref = f"{REFS}/{name}"
    _git(root, "update-ref", ref, commit)
    return ref


def kept(root: Path) -> dict[str, str]:
    """Every ref under refs/refit/ with its commit."""
    lines = _git(root, "for-each-ref", "--format=%(refname) %(objectname)", REFS).splitlines()
    return dict(line.split(" ", 1) for line in lines)


def resolve(root: Path, name: str) -> str | None:
    """The full id of a commit named in any way that Git knows; None when there is none."""
    return _ask(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def log(root: Path, old: str, new: str) -> tuple[tuple[str, str], ...] | None:
    """Commits that `new` has and `old` has not, newest first: id and subject; None if not here."""
    lines = _ask(root, "log", "--format=%H %s", f"{old}..{new}", "--")
    if lines is None:
        return None
    return tuple((line[:40], line[41:]) for line in lines.splitlines())


def changed(root: Path, old: str, new: str) -> tuple[tuple[str, str], ...] | None:
    """Files that differ between two commits: A, M, D or T with the path; None if not here."""
    told = _ask(root, "diff", "--name-status", "--no-renames", "-z", old, new, "--")
    if told is None:
        return None
    parts = [part for part in told.split("\0") if part]
    return tuple(zip(parts[::2], parts[1::2], strict=True))


def export(root: Path, commit: str, target: Path) -> None:
    """Write the commit's files into `target`, an empty folder, as a repository of its own.

    Submodules are left out; nothing of the repository at `root` is touched.
    """
    target.mkdir(parents=True)
    with _own_index() as index:
        _git(root, "read-tree", commit, index=index)
        _git(root, "checkout-index", "--all", "--force", f"--prefix={target}/", index=index)
    _git(target, "init", "--quiet")


def push(root: Path, remote: str) -> None:
    """Send every ref under refs/refit/ to the remote."""
    _git(root, "push", "--quiet", remote, f"{REFS}/*:{REFS}/*")


def pull(root: Path, remote: str) -> None:
    """Bring every ref under refs/refit/ from the remote."""
    _git(root, "fetch", "--quiet", remote, f"+{REFS}/*:{REFS}/*")


def remotes(root: Path) -> tuple[str, ...]:
    """The names of the remotes."""
    return tuple(_git(root, "remote").splitlines())


def _too_large(top: Path) -> tuple[str, ...]:
    """Untracked files that nobody meant to have in Git."""
    listed = _git(top, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    return tuple(sorted(name for name in listed if name and (top / name).lstat().st_size > LARGEST))


def _tree(top: Path, head: str | None, left_out: tuple[str, ...]) -> str:
    """The tree of the workspace's files, through an index of its own."""
    with _own_index() as index:
        if head is not None:
            _git(top, "read-tree", head, index=index)
        excluded = [f":(exclude,literal,top){name}" for name in left_out]
        _git(top, "add", "--all", "--", ":/", *excluded, index=index)
        return _git(top, "write-tree", index=index)


def _commit(top: Path, tree: str, parent: str | None) -> str:
    date = _git(top, "show", "--no-patch", "--format=%cI", parent) if parent else "@0 +0000"
    who = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", WHO), ("EMAIL", MAIL), ("DATE", date))
    }
    ancestry = ["-p", parent] if parent else []
    return _git(top, "commit-tree", tree, *ancestry, "-m", "The workspace as it ran", more=who)


@contextlib.contextmanager
def _own_index() -> Iterator[Path]:
    """A path for an index that exists only inside the `with`; Git makes the file itself."""
    with tempfile.TemporaryDirectory(prefix="refit-index-") as folder:
        yield Path(folder) / "index"


def _git(
    folder: Path,
    *arguments: str,
    index: Path | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    done = _run(folder, arguments, index, more)
    if done.returncode:
        raise SetupError(
            f"`git {arguments[0]}` failed",
            where=str(folder),
            got=" ".join(done.stderr.split()) or f"status {done.returncode}",
            do="mend what Git names; without a Git repository a version cannot be made again",
        )
    return done.stdout.strip("\n")


def _ask(folder: Path, *arguments: str) -> str | None:
    """As `_git`, but None where Git finds nothing."""
    done = _run(folder, arguments, None, None)
    return None if done.returncode else done.stdout.strip("\n")


def _run(
    folder: Path, arguments: tuple[str, ...], index: Path | None, more: Mapping[str, str] | None
) -> "subprocess.CompletedProcess[str]":
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key not in {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"}
    }
    environment = {**inherited, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(more or {})}
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SetupError("the program `git` is not installed", do="install Git") from error
