"""DVC's stages, run from Python exactly as `dvc repro` runs them: one cache behind two doors.

This is the only module that imports DVC. Of its API, which is only more or less stable, it uses
Repo, reproduce(single_item), status, add and index.graph, and two internals that tests hold: the
keyword arguments of the process that runs a stage (to read its output), and the names of the
loggers that tell a run from a restore. One flock of the project's own lets one run at a time
through; against a `dvc repro` at work in the same folder, DVC's own locks are waited for.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from refit import leftovers
from refit.errors import PipelineError
from refit.lock import POLL, only_one

LOCK = Path(".dvc/tmp/refit.lock")
RWLOCK = Path(".dvc/tmp/rwlock")
WAIT = 600.0
"""Seconds to wait for another run in the same folder."""
TAIL = 20
"""Lines of a failed stage's output that its error repeats."""

ENDED_BY_CTRL_C = ("exited with 130", f"exited with {-signal.SIGINT}")
NEVER_RAN = "never ran here"
NOT_CACHED = "not in cache"

OnOutput = Callable[[str], None]


class Outcome(StrEnum):
    """What became of a stage."""

    CACHED = "Cached"
    """Nothing had changed."""
    RESTORED = "Restored"
    """DVC had the result of these very inputs and put it back."""
    COMPLETED = "Completed"
    """It ran."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """One stage of one run."""

    stage: str
    outcome: Outcome
    reason: str
    seconds: float


@contextlib.contextmanager
def open_pipeline(root: Path, *, wait: float = WAIT) -> Iterator["Pipeline"]:
    """The pipeline of the project at `root`, for one run at a time.

    Args:
        root: the folder of dvc.yaml.
        wait: seconds to wait for another run; 0 is refused at once.

    Raises:
        PipelineError: no Git or DVC repository, or another run lasts longer than `wait`.
    """
    _require_repositories(root)
    with only_one(root / LOCK, wait):
        leftovers.clear_rwlock(root / RWLOCK)
        with contextlib.chdir(root):
            yield Pipeline(_open_repo(root), wait)


@dataclass(frozen=True)
class Pipeline:
    """The stages of dvc.yaml. Not to be shared between threads: DVC's Repo must not be."""

    repo: Any
    wait: float
    _log: "_Log" = field(default_factory=lambda: _listen())  # noqa: PLW0108 - defined below

    def stages(self) -> tuple[str, ...]:
        """The stages' names in the order in which `dvc repro` would take them."""
        return tuple(node.name for node in self._order() if getattr(node, "name", None))

    def changes(self) -> dict[str, tuple[str, ...]]:
        """What has changed since each stage last ran; empty when nothing needs to run."""
        with self._dvc_errors("the pipeline's state cannot be read"):
            status = self._patiently(self.repo.status)
        fresh = {node.addressing for node in self._order() if not _has_run(node)}
        return {
            name: (NEVER_RAN,) if name in fresh else tuple(_readable(entries))
            for name, entries in status.items()
        }

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
        self._bring_sources()
        reason = "; ".join(self.changes().get(stage, ()))
        tail: deque[str] = deque(maxlen=TAIL)

        def keep(line: str) -> None:
            tail.append(line)
            on_output(line)

        try:
            with self._log.watch() as seen, _output_to(keep):
                self._patiently(lambda: self.repo.reproduce(stage, single_item=True, force=force))
        except _dvc_exception() as error:
            if _interrupted(error):
                raise KeyboardInterrupt from error
            raise PipelineError(*_failure(stage, error, tail)) from error
        return StageResult(
            stage=stage,
            outcome=seen.outcome(),
            reason="forced" if force else reason,
            seconds=time.monotonic() - started,
        )

    def track(self, path: Path) -> bool:
        """Have DVC hold the file or folder; returns whether its .dvc file changed."""
        pointer = path.with_name(path.name + ".dvc")
        before = pointer.read_bytes() if pointer.exists() else b""
        with self._dvc_errors(f"{path} cannot be tracked"):
            self._patiently(lambda: self.repo.add(str(path)))
        return pointer.read_bytes() != before

    def _order(self) -> list[Any]:
        import networkx as nx

        with self._dvc_errors("dvc.yaml cannot be read"):
            return list(nx.dfs_postorder_nodes(self.repo.index.graph))

    def _bring_sources(self) -> None:
        """Note changed tracked data (.dvc files) as `dvc repro` does before its stages."""
        changed = self.changes()
        for node in self._order():
            if node.is_data_source and node.addressing in changed:
                with self._dvc_errors(
                    f"tracked data has changed and cannot be noted: {node.addressing}"
                ):
                    reproduce = partial(self.repo.reproduce, node.addressing, single_item=True)
                    self._patiently(reproduce)

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Call DVC; while another process holds its locks, wait and call again."""
        from dvc.lock import LockError

        deadline = time.monotonic() + self.wait
        while True:
            try:
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
                    got=str(busy).splitlines()[0],
                    do="wait for it to end, then run this again",
                ) from busy
            time.sleep(POLL)

    @contextlib.contextmanager
    def _dvc_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except _dvc_exception() as error:
            raise PipelineError(
                what,
                got=_causes(error),
                do="mend what it names; `git checkout dvc.yaml dvc.lock` restores the last commit",
            ) from error


class _Log(logging.Handler):
    """Listens to DVC's loggers, which alone say whether a stage ran or was restored."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.names.add(record.name.removeprefix("dvc.stage."))

    @contextlib.contextmanager
    def watch(self) -> Iterator["_Log"]:
        self.names.clear()
        yield self

    def outcome(self) -> Outcome:
        """`run` is logged by a stage that runs, `cache` by one that is restored."""
        if "run" in self.names:
            return Outcome.COMPLETED
        return Outcome.RESTORED if "cache" in self.names else Outcome.CACHED


def _open_repo(root: Path) -> Any:
    os.environ["DVC_NO_ANALYTICS"] = "1"
    from dvc.repo import Repo

    _quieten()
    try:
        return Repo(str(root), _wait_for_lock=True)
    except _dvc_exception() as error:
        raise PipelineError(
            "the DVC repository cannot be opened",
            where=str(root),
            got=_causes(error),
            do="mend what it names, or run `dvc doctor`",
        ) from error


def _quieten() -> None:
    """DVC sets up handlers that print; this program does its own printing."""
    for handler in list(logging.getLogger("dvc").handlers):
        logging.getLogger("dvc").removeHandler(handler)


def _listen() -> _Log:
    log = _Log()
    stages = logging.getLogger("dvc.stage")
    for old in [handler for handler in stages.handlers if isinstance(handler, _Log)]:
        stages.removeHandler(old)
    stages.addHandler(log)
    stages.setLevel(logging.INFO)
    stages.propagate = False
    return log


def _dvc_exception() -> type[Exception]:
    from dvc.exceptions import DvcException

    return DvcException  # type: ignore[no-any-return]


@contextlib.contextmanager
def _output_to(on_output: OnOutput) -> Iterator[None]:
    """Read what the stage's process prints (stdout and stderr) line by line while it runs."""
    from dvc.stage import run

    original = run.prepare_kwargs
    reading, writing = os.pipe()

    def prepare(*arguments: Any, **options: Any) -> dict[str, Any]:
        return {**original(*arguments, **options), "stdout": writing, "stderr": writing}

    reader = threading.Thread(target=_forward, args=(reading, on_output), daemon=True)
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
        reader.join()


def _end_children(*, since: float) -> None:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.create_time() >= since - 1:
                child.terminate()


def _interrupted(error: BaseException | None) -> bool:
    """Whether the stage was ended by Ctrl-C, which DVC itself ignores while a stage works."""
    while error is not None:
        if str(error).endswith(ENDED_BY_CTRL_C):
            return True
        error = error.__cause__
    return False


def _forward(descriptor: int, on_output: OnOutput) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            on_output(line.rstrip("\n"))


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


def _has_run(node: Any) -> bool:
    return node.is_data_source or any(out.hash_info for out in node.outs)


def _readable(entries: list[Any]) -> Iterator[str]:
    """DVC's status of one stage as short phrases: `modified src/refit/model.py`."""
    for entry in entries:
        if not isinstance(entry, dict):
            yield str(entry)
            continue
        for kind, paths in entry.items():
            noun = "output " if kind == "changed outs" else ""
            for path, state in paths.items():
                if isinstance(state, dict):
                    yield from (f"{change} {path}: {key}" for key, change in state.items())
                else:
                    yield (
                        f"{noun}{path} {state}" if state == NOT_CACHED else f"{state} {noun}{path}"
                    )


def _failure(stage: str, error: Exception, tail: deque[str]) -> tuple[str]:
    """The stage's own last words where it spoke as Refit does, else its last lines, or DVC's."""
    from dvc.stage.exceptions import StageCmdFailedError

    own = [line.removeprefix("refit: ") for line in tail if line.startswith("refit: ")]
    if own:
        said = own[-1]
    elif tail and isinstance(error.__cause__, StageCmdFailedError):
        said = "\n".join(tail)
    else:
        said = _causes(error)
    return (f"stage {stage} failed: {said}",)


def _causes(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error).splitlines()[0] if str(error) else type(error).__name__)
        error = error.__cause__
    return "; ".join(dict.fromkeys(texts))
