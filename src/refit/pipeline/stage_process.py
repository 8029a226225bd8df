"""What a stage's process prints while it runs, and what it reports about itself.

DVC starts each command of a stage with the shell that `$SHELL` names. While DVC brings a stage up
to date, `$SHELL` names a small script. It reports the command's process id, connects stdout and
stderr to a named pipe, and becomes the user's shell with the same arguments. So a stage that
reported ran, and one that did not was restored or had nothing to do. A process that runs
`python -m refit STAGE` also reports how it ended (refit.core.run_record).

Reports and output go through pipes: nothing is written to a full disk, and nothing stays behind.
"""

import contextlib
import json
import os
import shlex
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from refit.core import run_record
from refit.core.errors import DiskError
from refit.core.run_record import RunRecord

PREFIX = "refit-stage-"
"""Begins the name of the temporary folder of one stage's run."""
OUTPUT = "REFIT_OUTPUT"
GRACE = 5.0
"""Seconds to read on after the stage's end, where a background process holds its output open."""
CHUNK = 65_536

# Opening a pipe for reading and writing never waits, not even when this program has been killed.
SCRIPT = f"""\
#!/bin/sh
if [ -n "${run_record.VARIABLE}" ]; then
  exec 3<>"${run_record.VARIABLE}" 4<>"${OUTPUT}"
  echo $$ >&3
  exec >"${OUTPUT}" 2>&1 3>&- 4>&-
fi
{{restore}}
exec {{shell}} "$@"
"""


class StageProcess:
    """The process of one stage: its pipes, and its reports once it has ended."""

    def __init__(self, folder: Path) -> None:
        self._output = _Pipe(folder / "output")
        self._record = _Pipe(folder / "record")
        self._reports: list[int | dict[str, Any]] = []
        """Of each command its process id, then its record if it sends one."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the stage's commands need."""
        return {OUTPUT: str(self._output.path), run_record.VARIABLE: str(self._record.path)}

    @property
    def ran(self) -> bool:
        """Whether a command of the stage was started."""
        return bool(self._pids())

    @property
    def record(self) -> RunRecord | None:
        """How the process ended by its own report; None without one, as after a kill."""
        records = [report for report in self._reports if isinstance(report, dict)]
        return RunRecord.parse(records[-1]) if records else None

    @contextlib.contextmanager
    def listen(self, on_line: Callable[[str], None]) -> Iterator[None]:
        """Hand on each line of the output within the block; collect the reports after it."""
        reader = threading.Thread(target=self._output.forward, args=(on_line,), daemon=True)
        reader.start()
        try:
            yield
        except BaseException:
            # A signal ended this program's wait, but DVC leaves the stage running.
            self._reports += self._record.read_reports()
            self._terminate()
            raise
        finally:
            self._output.close_writing()
            reader.join(GRACE)
            self._reports += self._record.read_reports()
            self._record.close()

    def _pids(self) -> list[int]:
        return [report for report in self._reports if isinstance(report, int)]

    def _terminate(self) -> None:
        """Ask the stage's process to end, if it is still a child of this one."""
        for pid in self._pids():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if process.ppid() == os.getpid():
                    process.terminate()


@contextlib.contextmanager
def stage_process(parent: Path) -> Iterator[StageProcess]:
    """Within the block, the stages that DVC starts use the pipes of the returned process.

    Args:
        parent: the folder in which a temporary folder for the pipes is made.

    Raises:
        DiskError: the folder cannot be made.
    """
    shell = os.environ.get("SHELL")
    with contextlib.ExitStack() as stack:
        try:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent))
            process, script = StageProcess(Path(name)), _write_script(Path(name), shell)
        except OSError as error:
            raise DiskError(error, str(parent)) from error
        os.environ["SHELL"] = str(script)
        try:
            yield process
        finally:
            if shell is None:
                del os.environ["SHELL"]
            else:
                os.environ["SHELL"] = shell


def _write_script(folder: Path, shell: str | None) -> Path:
    """Write the script; DVC chooses a shell's options by its name, so the script has the same."""
    program = shell or "/bin/sh"
    restore = "unset SHELL" if shell is None else f"export SHELL={shlex.quote(shell)}"
    path = folder / Path(program).name
    path.write_text(SCRIPT.format(restore=restore, shell=shlex.quote(program)), encoding="utf-8")
    path.chmod(0o700)
    return path


class _Pipe:
    """A named pipe that this process reads.

    This process also holds a writing end, so the pipe does not end between two commands.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._writing = os.open(path, os.O_WRONLY)

    def forward(self, on_line: Callable[[str], None]) -> None:
        """Hand on each line until the last writer has closed the pipe."""
        os.set_blocking(self._reading, True)
        with os.fdopen(self._reading, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                on_line(line.rstrip("\n"))

    def read_reports(self) -> list[int | dict[str, Any]]:
        """The reports in the pipe now: one JSON value on each line."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._reading, CHUNK):
                data += chunk
        return [json.loads(line) for line in data.splitlines()]

    def close_writing(self) -> None:
        """Let the pipe end with its last writer."""
        os.close(self._writing)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reading)
        os.close(self._writing)
