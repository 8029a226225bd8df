"""A stage's process ends when the one that started it ends.

Otherwise killing `dvc repro` or a flow would leave the stage running, and its output would appear
later, beneath the next run. (Linux only: elsewhere a stage outlives its parent.)
"""

import ctypes
import json
import os
import signal
import sys

from refit.core import paths
from refit.core.errors import PipelineError

PARENT = "REFIT_PARENT"
"""Names the process that started a stage; Refit's own door sets it, DVC's cannot."""
OF_DVC = "DVC_STAGE"
"""What DVC sets for every command of a stage."""
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; leave at once if it has.

    Raises:
        PipelineError: the parent died while this process was still loading.
    """
    if not sys.platform.startswith("linux"):
        return
    first = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    expected = _starters()
    if os.getppid() not in ({first} if expected is None else expected):
        raise PipelineError(
            "the run that started this stage has ended",
            got=f"process {os.getppid()} as parent",
            expected=f"process {' or '.join(map(str, sorted(expected or {first})))}",
            do="run `refit run` again; if that run is still there, begin the stage's `cmd` in"
            " dvc.yaml with `exec`, so that no shell stands between the two",
        )


def _starters() -> set[int] | None:
    """The processes of which one is the stage's parent; None where that is not written down.

    What an orphan is given for a parent cannot be told from its first one otherwise: in a container
    or a desktop's session that is often a process of the same kind.
    """
    if PARENT in os.environ:
        return {int(os.environ[PARENT])}
    if OF_DVC not in os.environ:
        return None
    try:
        held = json.loads(paths.RWLOCK.read_text(encoding="utf-8"))
        return {int(writer["pid"]) for writer in held.get("write", {}).values()}
    except FileNotFoundError:
        return set()  # swept since, because the process in it was dead
    except (OSError, ValueError):
        return None  # another process of DVC is just writing it
