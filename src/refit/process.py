"""The life of a stage's process: it ends when the process that started it ends.

Without this, killing `dvc repro` or a flow leaves the stage running, and its output appears later,
beneath the next run. Linux only (prctl PR_SET_PDEATHSIG); elsewhere a stage outlives its parent.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; leave at once if it has."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
