"""The only module that imports DVC, with every internal of DVC that Refit relies on.

Refit uses the methods of `dvc.repo.Repo` (reproduce, status, add, push, fetch, checkout). What it
needs beyond them stands here; tests/pipeline/test_dvc_internals.py holds each of them:

- `Repo(_wait_for_lock=True)`: a run that has computed a result waits for the lock to record it;
- `Repo.fs.open`: DVC writes dvc.lock in place, and a kill would leave it cut short;
- `Repo.index.graph` and its nodes: the order of the stages, and which nodes are tracked data;
- `Stage.reproduce`: it leaves its result in the cache and the run cache, and dvc.lock as it is;
- `Repo.scm_context.ignore`: it adds an output to .gitignore;
- `make_lock` and the name of rwlock's lock: repairs take the locks that DVC takes;
- the exit status in a sentence: DVC's exception holds it nowhere else;
- loggers, progress bars and spinners: they would write into Refit's own output;
- the key of the run cache and its folders: two results under one key are an alarm;
- the path of a cached object: DVC restores write-protected objects without reading them.

Three conventions are used elsewhere. DVC runs commands with the shell that `$SHELL` names
(refit.pipeline.stage_process). Its rwlock names processes (refit.pipeline.recovery), and it sets
`DVC_STAGE` for every command (both: refit.core.orphans).
"""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LOGGERS = ("dvc", "dvc_data", "dvc_objects")


def open_repo(root: Path) -> Any:
    """DVC's repository at `root`; it waits for its lock without limit."""
    os.environ["DVC_NO_ANALYTICS"] = "1"
    from dvc.repo import Repo

    return Repo(str(root), _wait_for_lock=True)


def write_atomically(repo: Any, temporary: Path) -> None:
    """Make DVC write dvc.lock and rwlock to `temporary` first and rename it."""
    plain = repo.fs.open

    @contextlib.contextmanager
    def replace(path: str, mode: str, options: dict[str, Any]) -> Iterator[Any]:
        with plain(str(temporary), mode, **options) as handle:
            yield handle
        temporary.replace(path)

    def open_file(path: str, mode: str = "r", **options: Any) -> Any:
        return replace(path, mode, options) if "w" in mode else plain(path, mode, **options)

    repo.fs.open = open_file


def nodes(repo: Any) -> list[Any]:
    """Stages and .dvc files in the order in which `dvc repro` takes them."""
    import networkx as nx

    return list(nx.dfs_postorder_nodes(repo.index.graph))


def looked_at(repo: Any) -> Iterator[str]:
    """The files and folders whose state makes DVC's status, some of which may not exist."""
    yield from map(str, (repo.config.files[level] for level in ("repo", "local")))
    yield str(Path(repo.root_dir, ".dvcignore"))
    for node in repo.index.stages:
        yield node.path
        if not node.is_data_source:
            yield str(Path(node.path).with_suffix(".lock"))
        for part in (*node.deps, *node.outs):
            yield part.fs_path


def needs(repo: Any) -> dict[str, set[str]]:
    """Each stage in the order of `dvc repro`, with all that it needs, also through others."""
    import networkx as nx

    graph = repo.index.graph
    return {
        node.addressing: {n.addressing for n in nx.descendants(graph, node) if not n.is_data_source}
        for node in nodes(repo)
        if not node.is_data_source
    }


def keeps_results(node: Any) -> bool:
    """Whether every result of the stage goes into the run cache."""
    has_parts = bool(node.cmd and node.deps and node.outs)
    is_plain = not (node.frozen or node.is_callback or node.always_changed)
    return has_parts and is_plain and all(o.use_cache and not o.persist for o in node.outs)


def compute(repo: Any, stage: str, *, force: bool, run_env: dict[str, str]) -> list[Any]:
    """Bring a stage up to date as `repo.reproduce` does, but do not record it in dvc.lock.

    Its result goes into the cache and the run cache. .gitignore stays as it is: it would grow in
    another order. Returns the stage unless nothing had changed.
    """
    from dvc.repo import lock_repo

    with lock_repo(repo):
        (node,) = repo.stage.collect(stage)
        repo.scm_context.ignore = lambda _: None
        try:
            return [node] if node.reproduce(force=force, run_env=run_env) else []
        finally:
            del repo.scm_context.ignore


def has_run(node: Any) -> bool:
    """Whether dvc.lock records a result of the stage."""
    return node.is_data_source or any(out.hash_info for out in node.outs)


def lock(repo: Any, path: Path) -> Any:
    """A lock of DVC's own kind; it gives up after three seconds."""
    from dvc.lock import make_lock

    hardlink = repo.config["core"].get("hardlink_lock", False)
    return make_lock(str(path), tmp_dir=repo.tmp_dir, hardlink_lock=hardlink)


def rwlock_guard(repo: Any) -> Path:
    """The lock under which DVC edits its rwlock."""
    from dvc.rwlock import RWLOCK_LOCK

    return Path(repo.tmp_dir, str(RWLOCK_LOCK))


def dvc_exception() -> type[Exception]:
    """The base class of DVC's exceptions."""
    from dvc.exceptions import DvcException

    return DvcException  # type: ignore[no-any-return]


def lock_error() -> type[Exception]:
    """What DVC raises while another process holds one of its locks."""
    from dvc.lock import LockError

    return LockError  # type: ignore[no-any-return]


def exit_status(error: Exception) -> int | None:
    """The status of the command that failed; None when DVC itself failed.

    A negative status is a signal, as in `subprocess`.
    """
    from dvc.stage.exceptions import StageCmdFailedError

    failure = error if isinstance(error, StageCmdFailedError) else error.__cause__
    if not isinstance(failure, StageCmdFailedError):
        return None
    status = re.search(r"exited with (-?\d+)$", str(failure))
    return None if status is None else int(status[1])


class Warnings(logging.Handler):
    """Hands DVC's warnings on while a stage runs; DVC's other messages are dropped."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._listener: Callable[[str], None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one warning on."""
        if self._listener is not None:
            self._listener(record.getMessage())

    @contextlib.contextmanager
    def to(self, listener: Callable[[str], None]) -> Iterator[None]:
        """Hand warnings to the listener within the block."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None


def silence() -> Warnings:
    """Keep DVC from printing, and return the handler of its warnings."""
    from dvc.ui import ui

    warnings = Warnings()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.addHandler(warnings)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    logging.getLogger("dvc.progress").setLevel(logging.CRITICAL)  # turns the bars off
    ui.error_console.quiet = True  # turns the spinners off
    return warnings


def run_cache(repo: Any) -> Path:
    """The folder of the run cache: `KK/KEY/RESULT`, where KK begins KEY."""
    return Path(repo.cache.legacy.path) / "runs"


def run_cache_key(node: Any) -> str | None:
    """The key of the stage's command, dependencies and parameters as they are now."""
    from dvc.stage.cache import _get_stage_hash

    return _get_stage_hash(node) or None


def object_path(repo: Any, digest: str) -> Path:
    """The file of the cache that holds the object with this digest."""
    return Path(repo.cache.local.oid_to_path(digest))
