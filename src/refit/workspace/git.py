"""The commit that holds exactly what ran.

For a clean workspace it is HEAD. Otherwise (changed files, or a run that has just written dvc.lock)
a commit object is made from a separate index, so branch, index and files stay as they are. It needs
no Git identity and has the date of its parent, so the same content gives the same commit. A ref
under refs/refit/ protects it from Git's garbage collection, and `refit push` sends it. Everything
goes through the `git` program.
"""

import contextlib
import getpass
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from refit.core.errors import SetupError

REFS = "refs/refit"
LARGEST = 10 * 2**20
"""Bytes; a larger file that Git neither tracks nor ignores is left out of the commit."""
NO_OPTIONS = "--end-of-options"
"""What follows is never an option, whatever it begins with."""
NAME = "Refit"
MAIL = "refit@localhost"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A commit of the workspace as it is."""

    commit: str
    parent: str | None
    """HEAD, which is `commit` when nothing had changed; None before the first commit."""
    branch: str | None
    """None on a detached HEAD."""
    left_out: tuple[str, ...]
    """Paths of files that were too large."""


def snapshot(root: Path) -> Snapshot:
    """The commit of the workspace around `root`; made unless HEAD is that commit.

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
    """The user: the Git identity as `name <mail>`, or the login name without one."""
    name, mail = (_ask(root, "config", f"user.{part}") for part in ("name", "email"))
    if name:
        return f"{name} <{mail}>" if mail else name
    return getpass.getuser()


def keep(root: Path, commit: str, name: str) -> str:
    """Point refs/refit/NAME to the commit; returns the ref."""
    ref = f"{REFS}/{name}"
    _git(root, "update-ref", NO_OPTIONS, ref, commit)
    return ref


def kept(root: Path) -> dict[str, str]:
    """Every ref under refs/refit/ with its commit."""
    lines = _git(root, "for-each-ref", "--format=%(refname) %(objectname)", REFS).splitlines()
    return dict(line.split(" ", 1) for line in lines)


def resolve(root: Path, name: str) -> str | None:
    """The full id of a commit by any of its names; None when there is none."""
    return _ask(root, "rev-parse", "--verify", "--quiet", NO_OPTIONS, f"{name}^{{commit}}")


def is_full(commit: str) -> bool:
    """Whether this is the full id of a commit, and not another name, an option or a range."""
    return re.fullmatch(r"[0-9a-f]{40}", commit) is not None


def log(root: Path, old: str, new: str) -> tuple[tuple[str, str], ...] | None:
    """Commits in `new` but not in `old`, newest first: id and subject; None if one is missing."""
    if not (is_full(old) and is_full(new)):
        return None
    lines = _ask(root, "log", "--format=%H %s", NO_OPTIONS, f"{old}..{new}", "--")
    if lines is None:
        return None
    return tuple((line[:40], line[41:]) for line in lines.splitlines())


def changed(root: Path, old: str, new: str) -> tuple[tuple[str, str], ...] | None:
    """Files that differ between two commits: A, M, D or T with the path; None if one is missing."""
    if not (is_full(old) and is_full(new)):
        return None
    output = _ask(root, "diff", "--name-status", "--no-renames", "-z", NO_OPTIONS, old, new, "--")
    if output is None:
        return None
    parts = [part for part in output.split("\0") if part]
    return tuple(zip(parts[::2], parts[1::2], strict=True))


def export(root: Path, commit: str, target: Path) -> None:
    """Write the commit's files into the new folder `target`, and make it a repository.

    Submodules are left out. The repository at `root` stays as it is.
    """
    target.mkdir(parents=True)
    with _separate_index() as index:
        _git(root, "read-tree", NO_OPTIONS, commit, index=index)
        _git(root, "checkout-index", "--all", "--force", f"--prefix={target}/", index=index)
    _git(target, "init", "--quiet")


def push(root: Path, remote: str) -> None:
    """Send every ref under refs/refit/ to the remote."""
    _git(root, "push", "--quiet", remote, f"{REFS}/*:{REFS}/*")


def pull(root: Path, remote: str) -> None:
    """Fetch every ref under refs/refit/ from the remote."""
    _git(root, "fetch", "--quiet", remote, f"+{REFS}/*:{REFS}/*")


def run(root: Path, *arguments: str, stdin: str = "", more: Mapping[str, str] | None = None) -> str:
    """What a command of Git prints.

    Args:
        root: where it runs.
        arguments: of `git`.
        stdin: what the command reads.
        more: environment variables.

    Raises:
        SetupError: it failed.
    """
    return _checked(_run(root, arguments, None, more, stdin), root, arguments[0])


def ask(root: Path, *arguments: str) -> str | None:
    """As `run`, but None where Git fails."""
    return _ask(root, *arguments)


def remotes(root: Path) -> tuple[str, ...]:
    """The names of the remotes."""
    return tuple(_git(root, "remote").splitlines())


def _too_large(top: Path) -> tuple[str, ...]:
    """Large untracked files, which were probably not meant for Git."""
    listing = _git(top, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    return tuple(
        sorted(name for name in listing if name and (top / name).lstat().st_size > LARGEST)
    )


def _tree(top: Path, head: str | None, left_out: tuple[str, ...]) -> str:
    """The tree of the workspace's files, made through a separate index."""
    with _separate_index() as index:
        if head is not None:
            _git(top, "read-tree", head, index=index)
        excluded = [f":(exclude,literal,top){name}" for name in left_out]
        _git(top, "add", "--all", "--", ":/", *excluded, index=index)
        return _git(top, "write-tree", index=index)


def _commit(top: Path, tree: str, parent: str | None) -> str:
    date = _git(top, "show", "--no-patch", "--format=%cI", parent) if parent else "@0 +0000"
    identity = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", NAME), ("EMAIL", MAIL), ("DATE", date))
    }
    ancestry = ["-p", parent] if parent else []
    return _git(top, "commit-tree", tree, *ancestry, "-m", "The workspace as it ran", more=identity)


@contextlib.contextmanager
def _separate_index() -> Iterator[Path]:
    """A path for an index within the block; Git makes the file."""
    with tempfile.TemporaryDirectory(prefix="refit-index-") as folder:
        yield Path(folder) / "index"


def _git(
    folder: Path,
    *arguments: str,
    index: Path | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    return _checked(_run(folder, arguments, index, more), folder, arguments[0])


def _checked(done: "subprocess.CompletedProcess[str]", folder: Path, command: str) -> str:
    if done.returncode:
        raise SetupError(
            f"`git {command}` failed",
            where=str(folder),
            got=" ".join(done.stderr.split()) or f"status {done.returncode}",
            do="fix what Git names; without a Git repository a version cannot be reproduced",
        )
    return done.stdout.strip("\n")


def _ask(folder: Path, *arguments: str) -> str | None:
    """As `_git`, but None where Git fails."""
    done = _run(folder, arguments, None, None)
    return None if done.returncode else done.stdout.strip("\n")


def _run(
    folder: Path,
    arguments: tuple[str, ...],
    index: Path | None,
    more: Mapping[str, str] | None,
    stdin: str | None = None,
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
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SetupError("the program `git` is not installed", do="install Git") from error
