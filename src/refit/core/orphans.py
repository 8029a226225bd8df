"""A stage's process ends when the process that started it ends.

Otherwise killing `dvc repro` or a flow would leave the stage running, and it would write its output
while the next run works. (Linux only: elsewhere a stage outlives its parent.)
"""

import ctypes
import json
import os
import signal
import sys

from refit.core import paths
from refit.core.errors import PipelineError

PARENT = "REFIT_PARENT"
"""The variable in which `refit run` passes its own process id to a stage."""
DVC_STAGE = "DVC_STAGE"
"""The variable that DVC sets for every command of a stage."""
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies.

    Raises:
        PipelineError: the parent died while this process was still loading.
    """
    if not sys.platform.startswith("linux"):
        return
    first = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parents = _possible_parents()
    if os.getppid() not in ({first} if parents is None else parents):
        raise PipelineError(
            "the run that started this stage has ended",
            got=f"process {os.getppid()} as parent",
            expected=f"process {' or '.join(map(str, sorted(parents or {first})))}",
            do="run `refit run` again; if that run is still there, begin the stage's `cmd` in"
            " dvc.yaml with `exec`, so that no shell stands between the two",
        )


def _possible_parents() -> set[int] | None:
    """The processes that may have started this stage; None where no file or variable names them.

    The parent's id alone proves nothing: an orphan gets a new parent, and in a container or a
    desktop session the first parent may be the very process that adopts orphans.
    """
    if PARENT in os.environ:
        return {int(os.environ[PARENT])}
    if DVC_STAGE not in os.environ:
        return None
    try:
        rwlock = json.loads(paths.RWLOCK.read_text(encoding="utf-8"))
        return {int(writer["pid"]) for writer in rwlock.get("write", {}).values()}
    except FileNotFoundError:
        return set()  # deleted by a later run, because the process named in it was dead
    except (OSError, ValueError):
        return None  # another DVC process is writing it
