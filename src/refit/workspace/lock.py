"""One run at a time in one folder."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from refit.core.errors import PipelineError

POLL = 0.3
"""Seconds between two looks at a lock that somebody else holds."""


@contextlib.contextmanager
def only_one(path: Path, wait: float) -> Iterator[None]:
    """The project's own lock: the kernel frees it when its holder dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait
    with path.open("a+", encoding="utf-8") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise _busy(path) from None
                time.sleep(POLL)
        handle.truncate(0)
        handle.write(f"{os.getpid()}")
        handle.flush()
        yield


def _busy(path: Path) -> PipelineError:
    return PipelineError(
        "another run is at work in this folder",
        where=str(path),
        got=f"process {path.read_text(encoding='utf-8').strip() or 'unknown'}",
        do="wait for it to end, or end it, then run this again",
    )
