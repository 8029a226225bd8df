"""The answer "nothing has changed", remembered with the state of everything that it depends on.

DVC's import alone takes longer than to look at every file once more. A file counts as unchanged
while its size, inode, mtime and ctime are the same; DVC itself relies on size, inode and mtime. The
answer is not remembered while a file is so young that it could still change without another time,
and it is asked for again every hour, because the age of a champion matters to the policy.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from refit.core import files, paths
from refit.pipeline.stage_output import Outcome
from refit.workflow.step_result import StepResult
from refit.workspace.project import mlflow_uri, own_mlflow_uri

YOUNG = 1.0
"""Seconds within which a file may change again and keep its times."""
OLD = 3600.0
"""Seconds after which the answer is asked for again."""
IDLE = ("", "{}")
"""What DVC's rwlock holds while no DVC process works."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The state of the files at one moment."""

    paths: tuple[str, ...]
    digest: str
    newest: float
    """When the last of them changed, in seconds since 1970."""


def look(root: Path, looked_at: Iterable[Path]) -> Seen:
    """The state of these files, and of the registry's database."""
    database = root / paths.MLFLOW
    beside = (database.with_name(database.name + suffix) for suffix in ("", "-wal", "-journal"))
    return _look(sorted({str(path) for path in (*looked_at, *beside)}))


def remember(root: Path, seen: Seen, results: tuple[StepResult, ...]) -> None:
    """Store the results of after the files were looked at, where the registry is one of them."""
    now = time.time()
    if not _has_own_registry(root) or _look(seen.paths) != seen or now - seen.newest < YOUNG:
        return
    entry = {"seen": asdict(seen), "at": now, "results": [asdict(result) for result in results]}
    files.write_json(root / paths.UNCHANGED, entry)


def recall(root: Path) -> tuple[StepResult, ...]:
    """The results of a run in which everything is cached; empty when that has to be found out."""
    started = time.monotonic()
    if not _has_own_registry(root):
        return ()
    try:
        entry: dict[str, Any] = json.loads((root / paths.UNCHANGED).read_bytes())
        results = [StepResult(**{**each, "outcome": Outcome.CACHED}) for each in entry["results"]]
        same = _look(entry["seen"]["paths"]).digest == entry["seen"]["digest"]
        age = time.time() - entry["at"]
    except (OSError, ValueError, TypeError, KeyError):
        return ()
    if not same or not 0 <= age < OLD or not _idle(root / paths.RWLOCK):
        return ()
    seconds = (time.monotonic() - started) / max(len(results), 1)
    return tuple(replace(result, seconds=seconds) for result in results)


def _has_own_registry(root: Path) -> bool:
    """Whether the registry is the project's own database; another one changes without a file."""
    return mlflow_uri(root) == own_mlflow_uri(root)


def _idle(rwlock: Path) -> bool:
    """Whether no DVC process is at work, or was killed while it was."""
    try:
        return rwlock.read_text(encoding="utf-8").strip() in IDLE
    except FileNotFoundError:
        return True


def _look(places: Iterable[str]) -> Seen:
    digest, newest = hashlib.sha256(), 0
    for place in places:
        for path, state in _states(Path(place)):
            digest.update(os.fsencode(path))
            digest.update(str(state).encode())
            newest = max(newest, *state[3:])
    return Seen(paths=tuple(places), digest=digest.hexdigest(), newest=newest / 1e9)


def _states(place: Path) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """The place and everything below it: mode, inode, size and the times of change."""
    try:
        status = place.stat()
    except OSError:
        yield place, (0, 0, 0, 0, 0)
        return
    kind = (status.st_mode, status.st_ino, status.st_size)
    yield place, (*kind, status.st_mtime_ns, status.st_ctime_ns)
    if stat.S_ISDIR(status.st_mode):
        for below in sorted(place.iterdir()):
            yield from _states(below)
