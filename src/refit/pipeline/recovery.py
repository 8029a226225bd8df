"""What a killed DVC process leaves behind, and when it may be swept away.

DVC's rwlock names processes by number alone: a number that another program has since been given
blocks every later run for ever, and a file that was cut short fails them all. Both are cleared
here, but never while a process that is named in it lives and is still the one that was meant.

DVC also writes over dvc.lock: killed meanwhile, it leaves it empty or without its end. The last
commit's is put back; what ran since lies in DVC's run cache and is restored from there.
"""

import contextlib
import hashlib
import json
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from refit.core import files, paths


def clear_rwlock(path: Path) -> bool:
    """Delete the rwlock file when no living DVC process stands in it; returns whether it did.

    Call it under a lock of the project's own.
    """
    try:
        text = path.read_text(encoding="utf-8")
        written = path.stat().st_mtime
    except FileNotFoundError:
        return False
    try:
        content = json.loads(text)
        holders = list(_holders(content))
    except (ValueError, TypeError, AttributeError, KeyError):
        holders = []
    else:
        if not holders:
            return False
    if any(_alive(holder, written) for holder in holders):
        return False
    path.unlink(missing_ok=True)
    return True


def sound(path: Path) -> bool:
    """Whether an object of DVC's cache has the MD5 that it is named by."""
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, partial(hashlib.md5, usedforsecurity=False))
    return found.hexdigest() == path.parent.name + path.stem


def cut_short(path: Path) -> bool:
    """Whether the dvc.lock is there without the line end with which DVC ends it."""
    return path.exists() and not path.read_bytes().endswith(b"\n")


def mend_lock(path: Path) -> bool:
    """Put the last commit's dvc.lock in the place of a cut one; returns whether it did.

    Call it under DVC's own lock, for one that is just being written looks the same. The cut file is
    kept beside DVC's other temporary files.
    """
    if not cut_short(path):
        return False
    committed = subprocess.run(
        ["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, check=False
    )
    path.replace(path.parent / paths.CUT_LOCK)
    if not committed.returncode:
        files.write_bytes(path, committed.stdout)
    return True


def _holders(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    # DVC leaves a key out when it has emptied it.
    for infos in content.get("read", {}).values():
        yield from infos
    yield from content.get("write", {}).values()


def _alive(holder: dict[str, Any], written: float) -> bool:
    """Whether the number still belongs to the process that wrote itself down.

    It must have begun before the file was last written, and its command line must end in the
    arguments that were recorded (the program's own path may be spelt differently).
    """
    with contextlib.suppress(psutil.Error, ValueError, KeyError):
        process = psutil.Process(int(holder["pid"]))
        arguments = " ".join(str(holder["cmd"]).split(" ")[1:])
        line = " ".join(process.cmdline())
        return process.create_time() <= written + 1 and line.endswith(arguments)
    return False
