"""Sends and fetches what others need to reproduce a version: commits, data and stage results.

Commits that no branch holds travel as refs under refs/refit/ through a Git remote. Data, outputs
and the run cache travel through a DVC remote. The registry does not travel: it has its own server;
only the anchor of its ledger does, as refs under refs/refit-ledger/.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from refit.core.errors import SetupError
from refit.pipeline.dvc import open_pipeline
from refit.registry import anchor_remote
from refit.workspace import git


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What was sent or fetched."""

    commits: int
    files: int


def push(
    root: Path, *, git_remote: str, dvc_remote: str | None, say: Callable[[str], None]
) -> Transfer:
    """Send commits of versions, data, outputs and the run cache.

    Raises:
        SetupError: there is no such Git remote, or it cannot be reached.
        RegistryError: the remote's anchor of the ledger contradicts the one here.
        PipelineError: there is no DVC remote, or it cannot be reached.
    """
    _require_remote(root, git_remote)
    refs = git.kept(root)
    with open_pipeline(root) as pipeline:
        say(f"sending data and results of the workspace and of each version ({len(refs)}) ...")
        files = pipeline.push(sorted(set(refs.values())), dvc_remote)
    git.push(root, git_remote)  # last: when others see a commit, its data is there
    anchor_remote.push(root, git_remote)
    return Transfer(commits=len(refs), files=files)


def pull(
    root: Path, *, git_remote: str, dvc_remote: str | None, say: Callable[[str], None]
) -> Transfer:
    """Fetch commits of versions, data, outputs and the run cache, and the workspace's data.

    Raises:
        SetupError: there is no such Git remote, or it cannot be reached.
        RegistryError: the remote's anchor of the ledger contradicts the one here.
        PipelineError: there is no DVC remote, it cannot be reached, or tracked data in the
            workspace has changes that would be lost.
    """
    _require_remote(root, git_remote)
    git.pull(root, git_remote)
    refs = git.kept(root)
    with open_pipeline(root) as pipeline:
        say(f"fetching data and results of the workspace and of each version ({len(refs)}) ...")
        files = pipeline.pull(sorted(set(refs.values())), dvc_remote)
    anchor_remote.pull(root, git_remote)
    return Transfer(commits=len(refs), files=files)


def _require_remote(root: Path, name: str) -> None:
    remotes = git.remotes(root)
    if name not in remotes:
        raise SetupError(
            f"there is no Git remote `{name}`",
            where=str(root),
            got=", ".join(remotes) or "no remote",
            do=f"`git remote add {name} URL`, or name another one with --git",
        )
