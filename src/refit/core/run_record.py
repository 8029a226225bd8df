"""What a stage's process reports when it ends: its status and, after an error, the reason.

`refit run` names a pipe in the variable REFIT_RUN_RECORD and reads the report from it. `dvc repro`
names none, so nothing is reported.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Self

VARIABLE = "REFIT_RUN_RECORD"
LONGEST = 8_000
"""Characters of an error that are reported; the whole record fits into a pipe's buffer."""


class StageStopped(BaseException):
    """A signal asked the stage to stop, and it did. Not an error, like KeyboardInterrupt."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
        """The exit status of the process."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """How a stage's process ended."""

    stage: str
    pid: int
    started: float
    """Seconds since the epoch."""
    ended: float
    status: int
    error: str
    """The error's paragraph; empty without one."""

    @classmethod
    def parse(cls, report: dict[str, Any]) -> Self:
        """The record from its JSON object."""
        return cls(**report)


def send(record: RunRecord) -> None:
    """Report to the run that started this process; do nothing where none did, or it has died."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    report = asdict(record) | {"error": record.error[:LONGEST]}
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(descriptor, f"{json.dumps(report)}\n".encode())
        finally:
            os.close(descriptor)
