"""The pipeline of dvc.yaml, run from Python as `dvc repro` runs it: two doors to one cache.

Command, process, cache and dvc.lock are DVC's, whichever door is used. Refit's own lock lets one
run at a time work in a folder; a run waits for a `dvc repro` there, which holds DVC's locks.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from refit.core import paths
from refit.core.errors import PipelineError
from refit.core.orphans import PARENT
from refit.data import raw_files
from refit.pipeline import ahead, dvc_internals, run_cache
from refit.pipeline.ahead import Ahead
from refit.pipeline.dvc_internals import Warnings
from refit.pipeline.repository import Repository, open_repository, require_repositories
from refit.pipeline.run_cache import SeveralResults
from refit.pipeline.stage_output import Failure, OnOutput, Outcome, Output, StageResult, error_chain
from refit.pipeline.stage_process import stage_process
from refit.workspace.lock import only_one

WAIT = 600.0
"""Seconds to wait for another run in the same folder."""
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
"""Makes the lines of a Python stage visible as they are printed; no result depends on it."""


_opened: dict[tuple[Path, int], "Pipeline"] = {}
"""The open pipelines of this process, by root and thread."""


@contextlib.contextmanager
def open_pipeline(root: Path, *, wait: float = WAIT) -> Iterator["Pipeline"]:
    """The pipeline of the project at `root`, for one run at a time.

    A thread that has opened it gets the same again.

    Args:
        root: the folder of dvc.yaml.
        wait: seconds to wait for another run; with 0 the call fails immediately.

    Raises:
        PipelineError: no Git or DVC repository, or another run takes longer than `wait`.
        DataError: a file of data/raw cannot be a partition.
    """
    root = root.resolve()
    key = root, threading.get_ident()
    if key in _opened:
        yield _opened[key]
        return
    require_repositories(root)
    raw_files.tables(root / paths.RAW)  # before DVC opens what may never end
    with (
        only_one(root / paths.RUN_LOCK, wait),
        contextlib.chdir(root),
        open_repository(root, wait=wait) as repository,
    ):
        repository.remove_leftovers()
        _opened[key] = Pipeline(repository=repository, warnings=dvc_internals.silence())
        try:
            yield _opened[key]
        finally:
            _opened.pop(key).ahead.close()


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The stages of dvc.yaml. Not to be shared between threads."""

    repository: Repository
    warnings: Warnings
    ahead: Ahead = field(default_factory=Ahead)

    def stages(self) -> tuple[str, ...]:
        """The stages' names in the order in which `dvc repro` takes them."""
        nodes = self.repository.nodes()
        return tuple(node.name for node in nodes if getattr(node, "name", None))

    def looked_at(self) -> list[Path]:
        """Every file and folder that `changes`, `results` and `several` depend on."""
        cache = dvc_internals.run_cache(self.repository.repo)
        return sorted({*map(Path, dvc_internals.looked_at(self.repository.repo)), cache})

    def changes(self) -> dict[str, tuple[str, ...]]:
        """What has changed since each stage last ran; empty when nothing needs to run."""
        return self.repository.changes()

    def begin(self) -> None:
        """Let a second process begin what it can do ahead of the calls of `bring`.

        Those must come, in the order of `stages`. A second call does nothing.
        """
        if self.ahead.begun:  # it holds DVC's locks on what this process would look at
            return
        repo = self.repository.repo
        needs = dvc_internals.needs(repo)
        kept = {n.addressing for n in self.repository.nodes() if dvc_internals.keeps_results(n)}
        what = ahead.plan(needs, self.changes(), kept=kept)
        self.ahead.begin(Path(repo.root_dir), what)

    def bring(self, stage: str, *, on_output: OnOutput, force: bool = False) -> StageResult:
        """`run`, unless the second process has done it, wholly or but for the record."""
        early = None if force else self.ahead.result(stage, on_output)
        if early is not None and self.ahead.has_recorded(stage):
            return early
        if early is None and self.ahead.takes(stage):
            self.ahead.close()
            self.repository.remove_leftovers()
        result = self.run(stage, on_output=on_output, force=force)
        if early is None or result.outcome is Outcome.COMPLETED:
            return result
        return replace(early, seconds=early.seconds + result.seconds)

    def run(
        self, stage: str, *, on_output: OnOutput, force: bool = False, record: bool = True
    ) -> StageResult:
        """Bring one stage up to date; the stages before it must be.

        Args:
            stage: its name in dvc.yaml.
            on_output: takes each line that the stage's process prints, while it runs.
            force: run it even when nothing has changed.
            record: write it into dvc.lock; otherwise its result is in DVC's run cache.

        Raises:
            PipelineError: the stage failed; the message ends in the stage's own error.
        """
        started = time.monotonic()
        changes = self._bring_sources(stage) if record else self.repository.changes([stage])
        reason = "; ".join(changes.get(stage, ()))
        if reason:
            run_cache.delete_damaged(self.repository, stage, folders_only=True)
        reproduce = partial(self._reproduce, stage, on_output, record=record)
        outcome = reproduce(force=force)
        if outcome is Outcome.RESTORED:
            damaged = run_cache.delete_damaged(self.repository, stage)
            if damaged:
                reason = f"{len(damaged)} of its files in DVC's cache were damaged: {damaged[0]}"
                outcome = reproduce(force=True)
        return StageResult(
            stage=stage,
            outcome=outcome,
            reason="forced" if force else reason,
            seconds=time.monotonic() - started,
        )

    def track(self, path: Path) -> bool:
        """Add the file or folder to DVC; returns whether its .dvc file changed."""
        pointer = path.with_name(path.name + ".dvc")
        before = pointer.read_bytes() if pointer.exists() else b""
        with self.repository.explained(f"{path} cannot be tracked"):
            self.repository.call(lambda: self.repository.repo.add(str(path)))
        return pointer.read_bytes() != before

    def push(self, commits: Iterable[str], remote: str | None = None) -> int:
        """Send the data of workspace and commits, and the run cache; returns the files sent."""
        repo, revisions = self.repository.repo, list(commits)
        with self.repository.explained("results cannot be sent to the DVC remote"):
            return int(
                self.repository.call(
                    lambda: repo.push(revs=revisions, run_cache=True, remote=remote)
                )
            )

    def pull(self, commits: Iterable[str], remote: str | None = None) -> int:
        """Fetch the data of the commits, and the run cache; returns the files fetched.

        Tracked data are written into the workspace; stages are restored when they are asked for.
        """
        repo, revisions = self.repository.repo, list(commits)
        with self.repository.explained("results cannot be fetched from the DVC remote"):
            count = self.repository.call(
                lambda: repo.fetch(revs=revisions, run_cache=True, remote=remote)
            )
            sources = self.repository.sources()
            if sources:
                self.repository.call(lambda: repo.checkout(targets=sources, force=False))
        return int(count)

    def fetch_sources(self, commit: str) -> None:
        """Fetch the tracked data of a commit into the cache; the workspace stays as it is.

        Raises:
            PipelineError: neither the cache nor a remote has them.
        """
        repo = self.repository.repo
        with self.repository.explained(f"the data of commit {commit[:12]} cannot be fetched"):
            sources = self.repository.sources()
            self.repository.call(
                lambda: repo.fetch(targets=sources, revs=[commit], workspace=False)
            )

    def input_bytes(self, stage: str) -> int:
        """The size of the stage's dependencies as they are now."""
        paths = [Path(dep.fs_path) for dep in self.repository.stage(stage).deps]
        inputs = (path for each in paths for path in (each, *each.rglob("*")))
        return sum(path.stat().st_size for path in inputs if path.is_file())

    def results(self) -> dict[str, int]:
        """How many different results each stage has had from its present inputs."""
        return run_cache.result_counts(self.repository)

    def several(self) -> tuple[SeveralResults, ...]:
        """Every computation, of present and of earlier inputs, with different results."""
        return run_cache.several_results(self.repository)

    @property
    def cache(self) -> Path:
        """The folder of the cache, which has the layout of a remote."""
        return Path(self.repository.repo.cache.local.path).parents[1]

    def _bring_sources(self, stage: str) -> dict[str, tuple[str, ...]]:
        """Record changed tracked data (.dvc files), as `dvc repro` does before its stages.

        Returns:
            What has changed in them and in the stage. DVC is asked once, because each question
            costs a tenth of a second.
        """
        nodes = self.repository.nodes()
        sources = self.repository.sources(nodes)
        changes = self.repository.changes([*sources, stage], nodes)
        for source in sources:
            if source in changes:
                what = f"tracked data has changed and cannot be recorded: {source}"
                with self.repository.explained(what):
                    self.repository.call(
                        partial(self.repository.repo.reproduce, source, single_item=True)
                    )
        return changes

    def _reproduce(self, stage: str, on_output: OnOutput, *, force: bool, record: bool) -> Outcome:
        """Have DVC bring the stage up to date, and hand on what its process prints."""
        output = Output(on_output)
        with stage_process(paths.DVC_TEMPORARY.resolve()) as process:
            environment = {**UNBUFFERED, PARENT: str(os.getpid()), **process.environment}
            repo = self.repository.repo
            how = (
                partial(repo.reproduce, single_item=True)
                if record
                else partial(dvc_internals.compute, repo)
            )
            reproduce = partial(how, stage, force=force, run_env=environment)
            try:
                with self.warnings.to(output.hand_on), process.listen(output):
                    changed = self.repository.call(reproduce)
            except dvc_internals.dvc_exception() as error:
                failure = Failure(
                    record=process.record,
                    command_status=dvc_internals.exit_status(error),
                    tail=tuple(output.tail),
                    dvc_message=error_chain(error),
                )
                if failure.interrupted:
                    raise KeyboardInterrupt from error
                raise PipelineError(f"stage {stage} failed: {failure}") from error
            finally:
                output.closed = True
        if output.listener_error is not None:
            raise output.listener_error
        if process.ran:
            return Outcome.COMPLETED
        restored = any(not node.frozen for node in changed)  # a frozen stage's outputs stay
        return Outcome.RESTORED if restored else Outcome.CACHED
