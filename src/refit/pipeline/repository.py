"""DVC's repository: opened, its locks waited for, its errors explained, a kill's leftovers removed.

Other DVC processes may work in the same folder. Every call of DVC therefore goes through
`Repository.call`, which waits while another process holds DVC's locks.
"""

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from refit.core import paths
from refit.core.errors import PipelineError
from refit.pipeline import dvc_internals, recovery
from refit.pipeline.stage_output import error_chain
from refit.pipeline.stage_process import PREFIX
from refit.workspace.lock import POLL

PART = "refit-{}.part"
"""What DVC writes before it is renamed, with the process that writes."""
LOCK_REPAIRED = (
    "warning: a kill had cut dvc.lock short; the last commit's dvc.lock was restored, and what ran"
    f" since then is restored from DVC's cache (the cut file is {paths.CUT_LOCK})"
)
NEVER_RAN = "never ran here"
NOT_CACHED = "not in cache"

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """DVC's repository. Not to be shared between threads: DVC's own object must not be."""

    repo: Any
    wait: float
    """Seconds to wait for another DVC process."""

    def nodes(self) -> list[Any]:
        """Stages and .dvc files in the order in which `dvc repro` takes them."""
        with self.explained("the pipeline's definition cannot be read"):
            return dvc_internals.nodes(self.repo)

    def stage(self, name: str) -> Any:
        """The node of a stage of dvc.yaml; None when there is no such stage."""
        return next((node for node in self.nodes() if getattr(node, "name", None) == name), None)

    def sources(self, nodes: list[Any] | None = None) -> list[str]:
        """The .dvc files of tracked data."""
        return [node.addressing for node in nodes or self.nodes() if node.is_data_source]

    def changes(
        self, targets: list[str] | None = None, nodes: list[Any] | None = None
    ) -> dict[str, tuple[str, ...]]:
        """What has changed in the targets (None: in everything), in the order of execution.

        Args:
            targets: stages and .dvc files.
            nodes: what `nodes` returned before; reading them again costs time.
        """
        with self.explained("the pipeline's state cannot be read"):
            status = self.call(lambda: self.repo.status(targets=targets))
        # DVC forgets its graph whenever it locks, so nodes are read after the status.
        return {
            node.addressing: tuple(_phrases(status[node.addressing]))
            if dvc_internals.has_run(node)
            else (NEVER_RAN,)
            for node in nodes or self.nodes()
            if node.addressing in status
        }

    def call(self, method: Callable[[], Result]) -> Result:
        """Call DVC; while another process holds its locks, wait and call again.

        DVC would wait for the repository's lock without limit, as it must when a stage has just
        run and its result is to be recorded. So that lock is tried first.
        """
        lock_error, dvc_exception = dvc_internals.lock_error(), dvc_internals.dvc_exception()
        deadline = time.monotonic() + self.wait
        while True:
            try:
                with dvc_internals.lock(self.repo, Path(self.repo.lock.lockfile)):
                    pass
                return method()
            except lock_error as error:
                busy: BaseException = error
            except dvc_exception as error:
                if not isinstance(error.__cause__, lock_error):
                    raise
                busy = error.__cause__
            if time.monotonic() >= deadline:
                raise PipelineError(
                    "another DVC process is at work in this folder",
                    got=" ".join(str(busy).split("\n\n")[0].split()),
                    do="wait for it to end, then run this again",
                ) from busy
            time.sleep(POLL)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn an error of DVC into a PipelineError that begins with `what`."""
        try:
            yield
        except (dvc_internals.dvc_exception(), OSError) as error:
            message = error_chain(error)
            match = re.search(r"[\w./-]+\.(?:yaml|lock|dvc)\b", message)
            file = match[0].removeprefix("./") if match else "dvc.yaml"
            raise PipelineError(
                what,
                got=message,
                do=f"fix what it names; `git checkout {file}` restores the last commit's",
            ) from error

    def remove_leftovers(self) -> None:
        """Remove what a killed run left.

        DVC's files are repaired under the locks under which DVC edits them. Without the lock, a
        file that a living process is writing would look like one that a kill cut short.
        """
        for folder in paths.DVC_TEMPORARY.glob(f"{PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for part in paths.DVC_TEMPORARY.glob(PART.format("*")):
            part.unlink(missing_ok=True)
        if paths.RWLOCK.exists():
            self.call(self._clear_rwlock)
        if recovery.is_cut_short(paths.DVC_LOCK):
            self.call(self._repair_dvc_lock)

    def _clear_rwlock(self) -> None:
        with dvc_internals.lock(self.repo, dvc_internals.rwlock_guard(self.repo)):
            recovery.clear_rwlock(paths.RWLOCK)

    def _repair_dvc_lock(self) -> None:
        with dvc_internals.lock(self.repo, Path(self.repo.lock.lockfile)):
            if recovery.repair_lock(paths.DVC_LOCK):
                print(LOCK_REPAIRED, file=sys.stderr, flush=True)


@contextlib.contextmanager
def open_repository(root: Path, *, wait: float) -> Iterator[Repository]:
    """DVC's repository in the working directory `root`.

    Raises:
        PipelineError: it cannot be opened.
    """
    try:
        repo = dvc_internals.open_repo(root)
    except dvc_internals.dvc_exception() as error:
        raise PipelineError(
            "the DVC repository cannot be opened",
            where=str(root),
            got=error_chain(error),
            do="fix what it names, or run `dvc doctor`",
        ) from error
    with contextlib.closing(repo):
        dvc_internals.write_atomically(repo, root / paths.DVC_TEMPORARY / PART.format(os.getpid()))
        yield Repository(repo=repo, wait=wait)


def require_repositories(root: Path) -> None:
    """Raise PipelineError unless `root` holds a Git and a DVC repository."""
    for folder, name, command in ((".git", "Git", "git init"), (".dvc", "DVC", "dvc init")):
        if not (root / folder).exists():
            raise PipelineError(
                f"there is no {name} repository",
                where=str(root),
                got=f"no {folder}",
                expected="a clone of the project",
                do=f"clone the project with Git, or run `{command}` in this folder",
            )


def _phrases(status: list[Any]) -> Iterator[str]:
    """DVC's status of one stage as short phrases: `modified src/refit/models/network.py`."""
    for entry in status:
        if not isinstance(entry, dict):
            yield str(entry)
            continue
        for kind, states in entry.items():
            noun = "output " if kind == "changed outs" else ""
            for path, state in states.items():
                if isinstance(state, dict):
                    yield from (f"{change} {path}: {key}" for key, change in state.items())
                elif state == NOT_CACHED:
                    yield f"{noun}{path} {state}"
                else:
                    yield f"{state} {noun}{path}"
