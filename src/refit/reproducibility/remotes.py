"""What others need to make a version again: its commit, its data, and every result of its stages.

Commits that no branch holds travel as refs under refs/refit/ through a Git remote; data, outputs
and the run cache through a DVC remote. The registry is a server of its own and does not travel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from refit.core.errors import SetupError
from refit.pipeline.dvc import open_pipeline
from refit.workspace import git


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What was sent or brought."""

    commits: int
    files: int


def push(
    root: Path, *, git_remote: str, dvc_remote: str | None, say: Callable[[str], None]
) -> Moved:
    """Send commits of versions, data, outputs and run cache.

    Raises:
        SetupError: there is no such Git remote, or it cannot be reached.
        PipelineError: there is no DVC remote, or it cannot be reached.
    """
    _require_remote(root, git_remote)
    kept = git.kept(root)
    with open_pipeline(root) as pipeline:
        say(f"sending data and results of the workspace and of each version ({len(kept)}) ...")
        sent = pipeline.push(sorted(set(kept.values())), dvc_remote)
    git.push(root, git_remote)  # last: a commit that others see has its data
    return Moved(commits=len(kept), files=sent)


def pull(
    root: Path, *, git_remote: str, dvc_remote: str | None, say: Callable[[str], None]
) -> Moved:
    """Bring commits of versions, data, outputs and run cache; the workspace gets its data.

    Raises:
        SetupError: there is no such Git remote, or it cannot be reached.
        PipelineError: there is no DVC remote, it cannot be reached, or tracked data in the
            workspace has changes that would be lost.
    """
    _require_remote(root, git_remote)
    git.pull(root, git_remote)
    kept = git.kept(root)
    with open_pipeline(root) as pipeline:
        say(f"bringing data and results of the workspace and of each version ({len(kept)}) ...")
        brought = pipeline.pull(sorted(set(kept.values())), dvc_remote)
    return Moved(commits=len(kept), files=brought)


def _require_remote(root: Path, name: str) -> None:
    known = git.remotes(root)
    if name not in known:
        raise SetupError(
            f"there is no Git remote `{name}`",
            where=str(root),
            got=", ".join(known) or "no remote",
            do=f"`git remote add {name} URL`, or name another one with --git",
        )
