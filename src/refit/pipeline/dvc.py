"""DVC's stages, run from Python exactly as `dvc repro` runs them: one cache behind two doors.

This is the only module that imports DVC. Of its API, which is only more or less stable, it uses
Repo, reproduce(single_item, force, run_env), status, add, push, fetch, checkout, index.graph, fs
and its locks, and four internals that tests hold: the keyword arguments of the process that runs a
stage (to read its output), the names of the loggers that tell a run from a restore, the switches of
its progress bars, and the keys of its run cache. One flock of the project's own lets one run at a
time through; against a `dvc repro` at work in the same folder, DVC's own locks are waited for.
"""

import contextlib
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from refit.core import paths
from refit.core.errors import PipelineError
from refit.core.orphans import PARENT
from refit.pipeline import recovery
from refit.pipeline.stage_output import Log, OnOutput, Outcome, Output, causes, failure, interrupted
from refit.pipeline.stage_output import changes as readable
from refit.workspace.lock import POLL, only_one

ASIDE = Path(".dvc/tmp/refit.part")
MENDED = (
    "warning: dvc.lock had been cut short by a kill: the last commit's is back in its place, and"
    f" what ran since is restored from DVC's cache (the cut file is {paths.CUT_LOCK})"
)
WAIT = 600.0
"""Seconds to wait for another run in the same folder."""
GRACE = 5.0
"""Seconds to read on after a stage's end, when a process that it left behind holds its output."""
LIVE = {"PYTHONUNBUFFERED": "1"}
"""Lets a stage's `print` through at once, as on a terminal; its result does not depend on it."""

NEVER_RAN = "never ran here"
KEY_DIGITS = 64


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """One stage of one run."""

    stage: str
    outcome: Outcome
    reason: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class SeveralResults:
    """Different results of one computation: proof that the stage is not deterministic."""

    stage: str
    key: str
    """DVC's, 64 hexadecimal digits."""
    count: int
    present: bool
    """Whether these are the inputs that the stage has now."""

    def __str__(self) -> str:
        """As `refit status` and `refit doctor` say it."""
        inputs = "the same inputs" if self.present else "the same earlier inputs"
        return f"{self.stage}: {self.count} different results from {inputs} (key {self.key[:12]})"


@contextlib.contextmanager
def open_pipeline(root: Path, *, wait: float = WAIT) -> Iterator["Pipeline"]:
    """The pipeline of the project at `root`, for one run at a time.

    Args:
        root: the folder of dvc.yaml.
        wait: seconds to wait for another run; 0 is refused at once.

    Raises:
        PipelineError: no Git or DVC repository, or another run lasts longer than `wait`.
    """
    root = root.resolve()
    _require_repositories(root)
    with (
        only_one(root / paths.RUN_LOCK, wait),
        contextlib.chdir(root),
        contextlib.closing(_open_repo(root)) as repo,
    ):
        pipeline = Pipeline(repo, wait)
        pipeline.sweep()
        yield pipeline


@dataclass(frozen=True)
class Pipeline:
    """The stages of dvc.yaml. Not to be shared between threads: DVC's Repo must not be."""

    repo: Any
    wait: float
    _log: Log = field(default_factory=lambda: _listen())  # noqa: PLW0108 - defined below

    def stages(self) -> tuple[str, ...]:
        """The stages' names in the order in which `dvc repro` would take them."""
        return tuple(node.name for node in self._order() if getattr(node, "name", None))

    def changes(self) -> dict[str, tuple[str, ...]]:
        """What has changed since each stage last ran; empty when nothing needs to run."""
        return self._changes(None, None)

    def run(self, stage: str, *, on_output: OnOutput, force: bool = False) -> StageResult:
        """Bring one stage up to date; the stages before it must be.

        Args:
            stage: its name in dvc.yaml.
            on_output: takes each line that the stage's process prints, while it runs.
            force: run it even when nothing has changed.

        Raises:
            PipelineError: the stage failed; the error ends in what the stage said.
        """
        started = time.monotonic()
        reason = "; ".join(self._bring_sources(stage).get(stage, ()))
        if reason:
            self._drop_damaged(stage, folders_only=True)
        outcome = self._reproduce(stage, Output(on_output), force=force)
        if outcome is Outcome.RESTORED and (damaged := self._drop_damaged(stage)):
            reason = f"{len(damaged)} of its files in DVC's cache were damaged: {damaged[0]}"
            outcome = self._reproduce(stage, Output(on_output), force=True)
        return StageResult(
            stage=stage,
            outcome=outcome,
            reason="forced" if force else reason,
            seconds=time.monotonic() - started,
        )

    def _reproduce(self, stage: str, output: Output, *, force: bool) -> Outcome:
        environment = {**LIVE, PARENT: str(os.getpid())}
        try:
            with self._log.watch(output.tell) as seen, _output_to(output):
                self._patiently(
                    lambda: self.repo.reproduce(
                        stage, single_item=True, force=force, run_env=environment
                    )
                )
        except _dvc_exception() as error:
            if interrupted(error):
                raise KeyboardInterrupt from error
            of_command = isinstance(error.__cause__, _command_failed())
            said = failure(error, output.tail, of_command=of_command)
            raise PipelineError(f"stage {stage} failed: {said}") from error
        if output.fault is not None:
            raise output.fault
        return seen.outcome()

    def _drop_damaged(self, stage: str, *, folders_only: bool = False) -> list[Path]:
        """Delete objects of the stage's outputs in DVC's cache that are not what their name says.

        DVC restores them unread, since it trusts what is write-protected; and a folder's list of
        files that it cannot read it neither uses nor replaces.
        """
        (node,) = (node for node in self._order() if getattr(node, "name", None) == stage)
        place = self.repo.cache.local.oid_to_path
        objects = [Path(place(out.hash_info.value)) for out in node.outs if out.hash_info]
        lists = [path for path in objects if path.suffix == ".dir" and path.exists()]
        if folders_only:
            objects = lists
        else:
            entries = (entry for path in lists for entry in json.loads(path.read_bytes()))
            objects += [Path(place(entry["md5"])) for entry in entries]
        damaged = [path for path in objects if not recovery.sound(path)]
        for path in damaged:
            path.unlink()
        return damaged

    def track(self, path: Path) -> bool:
        """Have DVC hold the file or folder; returns whether its .dvc file changed."""
        pointer = path.with_name(path.name + ".dvc")
        before = pointer.read_bytes() if pointer.exists() else b""
        with self._dvc_errors(f"{path} cannot be tracked"):
            self._patiently(lambda: self.repo.add(str(path)))
        return pointer.read_bytes() != before

    def push(self, commits: Iterable[str], remote: str | None = None) -> int:
        """Send what the workspace and the commits name, and the run cache; returns files sent."""
        with self._dvc_errors("results cannot be sent to the DVC remote"):
            return int(
                self._patiently(
                    lambda: self.repo.push(revs=list(commits), run_cache=True, remote=remote)
                )
            )

    def pull(self, commits: Iterable[str], remote: str | None = None) -> int:
        """Bring what the commits name, tracked data and the run cache; returns files brought.

        The workspace gets its tracked data; stages are restored when they are asked for.
        """
        with self._dvc_errors("results cannot be brought from the DVC remote"):
            brought = self._patiently(
                lambda: self.repo.fetch(revs=list(commits), run_cache=True, remote=remote)
            )
            sources = [node.addressing for node in self._order() if node.is_data_source]
            if sources:
                self._patiently(lambda: self.repo.checkout(targets=sources, force=False))
        return int(brought)

    def fetch_sources(self, commit: str) -> None:
        """Bring the tracked data (.dvc files) of a commit into the cache, no file of the workspace.

        Raises:
            PipelineError: neither the cache nor a remote has them.
        """
        with self._dvc_errors(f"the tracked data of commit {commit[:12]} cannot be brought"):
            sources = [node.addressing for node in self._order() if node.is_data_source]
            self._patiently(
                lambda: self.repo.fetch(targets=sources, revs=[commit], workspace=False)
            )

    def results(self) -> dict[str, int]:
        """How many different results each stage has had from its present inputs.

        DVC keeps every result under a key of the stage's command, dependencies and parameters, from
        either door and, after a pull, from other machines. More than one is proof that the stage is
        not deterministic.
        """
        return {stage: len(_entries(self._runs / key[:2] / key)) for stage, key in self._keys()}

    def several(self) -> tuple[SeveralResults, ...]:
        """Every key, of present and of earlier inputs, under which there are different results."""
        present = {key: stage for stage, key in self._keys()}
        folders = sorted(path for path in self._runs.glob("*/*") if path.is_dir())
        found = ((folder, _entries(folder)) for folder in folders)
        return tuple(
            SeveralResults(
                stage=present.get(folder.name) or _stage_of(entries[0]),
                key=folder.name,
                count=len(entries),
                present=folder.name in present,
            )
            for folder, entries in found
            if len(entries) > 1
        )

    @property
    def _runs(self) -> Path:
        return Path(self.repo.cache.legacy.path) / "runs"

    def _keys(self) -> Iterator[tuple[str, str]]:
        """Each stage that has run with the key of its present inputs, where they are there."""
        from dvc.stage.cache import _get_stage_hash

        for node in self._order():
            if not node.is_data_source and _has_run(node) and all(d.exists for d in node.deps):
                key = _get_stage_hash(node)
                if key:
                    yield node.addressing, key

    @property
    def cache(self) -> Path:
        """The folder of the cache, laid out as a remote is."""
        return Path(self.repo.cache.local.path).parents[1]

    def sweep(self) -> None:
        """Clear what a killed run left, under the guards under which DVC edits those files itself.

        Without a guard, a living DVC process that is just writing looks like a cut-off file.
        """
        from dvc.rwlock import RWLOCK_LOCK

        def clear() -> None:
            with self._lock(paths.RWLOCK.with_name(RWLOCK_LOCK)):
                recovery.clear_rwlock(paths.RWLOCK)

        def mend() -> None:
            with self._lock(Path(self.repo.lock.lockfile)):
                if recovery.mend_lock(paths.DVC_LOCK):
                    print(MENDED, file=sys.stderr, flush=True)

        if paths.RWLOCK.exists():
            self._patiently(clear)
        if recovery.cut_short(paths.DVC_LOCK):
            self._patiently(mend)

    def _order(self) -> list[Any]:
        import networkx as nx

        with self._dvc_errors("the pipeline's definition cannot be read"):
            return list(nx.dfs_postorder_nodes(self.repo.index.graph))

    def _changes(
        self, targets: list[str] | None, nodes: list[Any] | None
    ) -> dict[str, tuple[str, ...]]:
        """What has changed in the targets (None: in all), in the order of execution.

        Without `nodes` the order is asked for last: DVC forgets its index whenever it locks.
        """
        with self._dvc_errors("the pipeline's state cannot be read"):
            status = self._patiently(lambda: self.repo.status(targets=targets))
        return {
            node.addressing: tuple(readable(status[node.addressing]))
            if _has_run(node)
            else (NEVER_RAN,)
            for node in nodes or self._order()
            if node.addressing in status
        }

    def _bring_sources(self, stage: str) -> dict[str, tuple[str, ...]]:
        """Note changed tracked data (.dvc files) as `dvc repro` does before its stages.

        Returns:
            What has changed in them and in the stage; one question, for each costs a tenth second.
        """
        nodes = self._order()
        sources = [node.addressing for node in nodes if node.is_data_source]
        changed = self._changes([*sources, stage], nodes)
        for source in sources:
            if source in changed:
                with self._dvc_errors(f"tracked data has changed and cannot be noted: {source}"):
                    reproduce = partial(self.repo.reproduce, source, single_item=True)
                    self._patiently(reproduce)
        return changed

    def _lock(self, path: Path) -> Any:
        """A lock of DVC's own kind, which gives up after three seconds."""
        from dvc.lock import make_lock

        hardlink = self.repo.config["core"].get("hardlink_lock", False)
        return make_lock(str(path), tmp_dir=self.repo.tmp_dir, hardlink_lock=hardlink)

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Call DVC; while another process holds its locks, wait and call again.

        The repository's lock is tried first: Repo would wait for it without end, as it must when a
        stage has just run and its result is to be noted.
        """
        from dvc.lock import LockError

        deadline = time.monotonic() + self.wait
        while True:
            try:
                with self._lock(Path(self.repo.lock.lockfile)):
                    pass
                return call()
            except LockError as error:
                busy: Exception = error
            except _dvc_exception() as error:
                if not isinstance(error.__cause__, LockError):
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
    def _dvc_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (_dvc_exception(), OSError) as error:
            got = causes(error)
            named = re.search(r"[\w./-]+\.(?:yaml|lock|dvc)\b", got)
            file = named[0].removeprefix("./") if named else "dvc.yaml"
            raise PipelineError(
                what,
                got=got,
                do=f"mend what it names; `git checkout {file}` restores the last commit's",
            ) from error


def _open_repo(root: Path) -> Any:
    os.environ["DVC_NO_ANALYTICS"] = "1"
    from dvc.repo import Repo

    try:
        repo = Repo(str(root), _wait_for_lock=True)
    except _dvc_exception() as error:
        raise PipelineError(
            "the DVC repository cannot be opened",
            where=str(root),
            got=causes(error),
            do="mend what it names, or run `dvc doctor`",
        ) from error
    _write_whole(repo, root / ASIDE)
    return repo


def _write_whole(repo: Any, aside: Path) -> None:
    """Have DVC put dvc.lock and its rwlock in place at once: a kill leaves the old or the new one.

    DVC writes over them, and a file that was cut short stops both doors.
    """
    plain = repo.fs.open

    @contextlib.contextmanager
    def whole(path: str, mode: str, options: dict[str, Any]) -> Iterator[Any]:
        with plain(str(aside), mode, **options) as handle:
            yield handle
        aside.replace(path)

    def open_file(path: str, mode: str = "r", **options: Any) -> Any:
        return whole(path, mode, options) if "w" in mode else plain(path, mode, **options)

    repo.fs.open = open_file


def _listen() -> Log:
    """Hear DVC's loggers, which set up handlers that print, and still its bars and spinners."""
    from dvc.ui import ui

    log = Log()
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.addHandler(log)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.getLogger("dvc.progress").setLevel(logging.CRITICAL)
    ui.error_console.quiet = True
    return log


def _dvc_exception() -> type[Exception]:
    from dvc.exceptions import DvcException

    return DvcException  # type: ignore[no-any-return]


def _command_failed() -> type[Exception]:
    from dvc.stage.exceptions import StageCmdFailedError

    return StageCmdFailedError  # type: ignore[no-any-return]


@contextlib.contextmanager
def _output_to(output: Output) -> Iterator[None]:
    """Read what the stage's process prints (stdout and stderr) line by line while it runs."""
    from dvc.stage import run

    original = run.prepare_kwargs
    reading, writing = os.pipe()

    def prepare(*arguments: Any, **options: Any) -> dict[str, Any]:
        return {**original(*arguments, **options), "stdout": writing, "stderr": writing}

    reader = threading.Thread(target=_forward, args=(reading, output), daemon=True)
    reader.start()
    run.prepare_kwargs = prepare
    started = time.time()
    try:
        yield
    except BaseException:
        # Told to end while a stage works: DVC leaves it running, and the reader would wait for it.
        _end_children(since=started)
        raise
    finally:
        run.prepare_kwargs = original
        os.close(writing)
        reader.join(GRACE)
        output.over = True


def _end_children(*, since: float) -> None:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.create_time() >= since - 1:
                child.terminate()


def _forward(descriptor: int, output: Output) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            output(line.rstrip("\n"))


def _require_repositories(root: Path) -> None:
    for name, make in ((".git", "git init"), (".dvc", "dvc init")):
        if not (root / name).exists():
            raise PipelineError(
                f"there is no {name[1:].upper() if name == '.dvc' else 'Git'} repository",
                where=str(root),
                got=f"no {name}",
                expected="a clone of the project",
                do=f"clone the project with Git, or run `{make}` in this folder",
            )


def _entries(folder: Path) -> list[Path]:
    """The results that DVC's run cache holds under a key, without files being written."""
    return sorted(path for path in folder.glob("*") if len(path.name) == KEY_DIGITS)


def _stage_of(entry: Path) -> str:
    """The stage of a result in the run cache, by the command that it names."""
    import yaml

    command = str(yaml.safe_load(entry.read_text(encoding="utf-8"))["cmd"])
    return command.rpartition("-m refit ")[2]


def _has_run(node: Any) -> bool:
    return node.is_data_source or any(out.hash_info for out in node.outs)
