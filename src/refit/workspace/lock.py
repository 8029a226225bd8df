"""File locks: one process at a time does what must not be done twice.

The kernel frees a lock when its holder ends, however it ends.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from refit.core.errors import PipelineError

POLL = 0.3
"""Seconds between two attempts to take a lock that another process holds."""


@contextlib.contextmanager
def only_one(
    path: Path,
    wait: float,
    *,
    poll: float = POLL,
    busy: str = "another run is at work in this folder",
) -> Iterator[None]:
    """Hold the lock within the block; the file names the holder's process.

    Args:
        path: the lock file.
        wait: seconds to wait for another holder; with 0 the call fails immediately.
        poll: seconds between two attempts.
        busy: the error's first words.

    Raises:
        PipelineError: another process held the lock for longer than `wait`.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait, poll_interval=poll, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise PipelineError(
            busy,
            where=str(path),
            got=f"process {path.read_text(encoding='utf-8').strip() or 'unknown'}",
            do="wait for it to end, or end it, then run this again",
        ) from None
    try:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()
