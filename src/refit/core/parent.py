"""A stage's process ends when the one that started it ends.

Otherwise killing `dvc repro` or a flow would leave the stage running, and its output would appear
later, beneath the next run. (Linux only: elsewhere a stage outlives its parent.)
"""

import ctypes
import os
import signal
import sys

from refit.core.errors import PipelineError

PARENT = "REFIT_PARENT"
"""Names the process that started a stage; Refit's own door sets it, DVC's cannot."""
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; leave at once if it has.

    Raises:
        PipelineError: the parent died while this process was still loading.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ.get(PARENT, parent)) or _adopted():
        raise PipelineError(
            "the run that started this stage has ended",
            got=f"process {os.getppid()} as parent",
            expected=f"process {os.environ.get(PARENT, parent)}",
            do="run `refit run` again; if that run is still there, begin the stage's `cmd` in"
            " dvc.yaml with `exec`, so that no shell stands between the two",
        )


def _adopted() -> bool:
    """Whether the first process has this one from a parent that died before we could ask.

    What the first process starts itself is in its session or leads one of its own.
    """
    return os.getppid() == 1 and os.getsid(0) not in {os.getsid(1), os.getpid()}
