"""What a killed DVC process leaves behind, and when it may be removed.

DVC's rwlock names processes by their id alone. An id that another program has been given since then
would block every later run, and a file that was cut short fails them all. Both are removed here,
but never while a process that the file names is still running.

`dvc repro` writes dvc.lock in place; a kill leaves it empty or cut short. The last commit's is
restored. What ran since then is in DVC's run cache and is restored from there.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from refit.core import files, paths
from refit.data import recorded


def clear_rwlock(path: Path) -> bool:
    """Delete the rwlock file when no living DVC process is named in it; returns whether it did.

    Call it under the lock that guards the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        written = path.stat().st_mtime
    except FileNotFoundError:
        return False
    try:
        holders = list(_holders(json.loads(text)))
    except (ValueError, TypeError, AttributeError, KeyError):
        holders = []  # cut short, or something else
    else:
        if not holders:
            return False
    if any(_is_alive(holder, written) for holder in holders):
        return False
    path.unlink(missing_ok=True)
    return True


def is_intact(path: Path) -> bool:
    """Whether an object of DVC's cache has the MD5 that its name says."""
    return recorded.md5(path) == path.parent.name + path.stem


def is_cut_short(path: Path) -> bool:
    """Whether dvc.lock exists without the line end with which DVC ends it."""
    return path.exists() and not path.read_bytes().endswith(b"\n")


def repair_lock(path: Path) -> bool:
    """Replace a dvc.lock that was cut short by the last commit's; returns whether it did.

    Call it under DVC's own lock, because a file that is being written looks the same. The cut file
    is kept with DVC's temporary files.
    """
    if not is_cut_short(path):
        return False
    committed = subprocess.run(
        ["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, check=False
    )
    path.replace(path.parent / paths.CUT_LOCK)
    if not committed.returncode:
        files.write_bytes(path, committed.stdout)
    return True


def _holders(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of readers and writers. DVC leaves out a key that it has emptied."""
    for readers in content.get("read", {}).values():
        yield from readers
    yield from content.get("write", {}).values()


def _is_alive(holder: dict[str, Any], written: float) -> bool:
    """Whether the process id still belongs to the process that made the entry.

    It must have begun before the file was last written, and its command line must end in the
    recorded arguments (the program's own path may be spelled differently).
    """
    with contextlib.suppress(psutil.Error, ValueError, KeyError):
        process = psutil.Process(int(holder["pid"]))
        arguments = " ".join(str(holder["cmd"]).split(" ")[1:])
        line = " ".join(process.cmdline())
        return process.create_time() <= written + 1 and line.endswith(arguments)
    return False
