"""One try to bring a project up to date through one of the doors, and the processes it consists of.

A process is killed only when this try started it or is its parent, or when the project's own notes
name it as its server: other projects run the same programs on the same machine.
"""

import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from refit.workspace import servers

DOORS = {
    "dvc": (("dvc", "repro"), ("refit", "promote")),
    "plain": (("refit", "run", "--no-server"),),
    "flow": (("refit", "run"),),
}
STAGES = ("validate", "preprocess", "baseline", "train", "evaluate")
LIMIT = 240.0
"""Seconds after which an undisturbed try counts as stuck."""
PATIENCE = 60.0
"""Seconds in which a stage must be gone after its run."""


@dataclass
class Attempt:
    """The commands of a door, one after another; the next begins when the one before succeeded."""

    project: Any
    door: str
    output: IO[str]
    done: int = 0
    process: "subprocess.Popen[str]" = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the first command."""
        self._begin()

    def _begin(self) -> None:
        program, *arguments = DOORS[self.door][self.done]
        self.process = subprocess.Popen(
            [str(self.project.root / ".venv/bin" / program), *arguments],
            cwd=self.project.root,
            env=self.project.environment | {"PREFECT_SERVER_API_PORT": "0"},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
        )

    def over(self) -> bool:
        """Whether the last command has ended, or one has failed; else the next is begun in time."""
        if self.process.poll() is None:
            return False
        if self.process.returncode == 0 and self.done + 1 < len(DOORS[self.door]):
            self.done += 1
            self._begin()
            return False
        return True

    def wait(self) -> int:
        """The status in which it ends by itself."""
        deadline = time.monotonic() + LIMIT
        while not self.over():
            assert time.monotonic() < deadline, "it is stuck"
            time.sleep(0.02)
        return int(self.process.returncode)

    def stage(self) -> tuple[str, psutil.Process] | None:
        """The stage that is at work, and its process."""
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.Error):
                    module, name = ["", "", *child.cmdline()][-2:]  # one just begun has none
                    if module == "refit" and name in STAGES:
                        return name, child
        return None

    def server(self) -> psutil.Process | None:
        """The Prefect server of the project."""
        found = servers.running(self.project.root).get("prefect")
        with suppress(psutil.Error):
            return psutil.Process(found.pid) if found else None
        return None

    def kill(self) -> None:
        """Kill the command, and wait until it and its stage are gone."""
        at_work = self.stage()
        self.process.kill()
        self.process.wait()
        if at_work is not None:
            self._await_end(at_work[1])

    def _await_end(self, stage: psutil.Process) -> None:
        """It asked the kernel to die with its parent, or finds its parent gone while it loads."""
        deadline = time.monotonic() + PATIENCE
        with suppress(psutil.NoSuchProcess):
            while stage.status() != psutil.STATUS_ZOMBIE:  # the first process may collect it late
                told = f"{stage} {stage.cmdline()} of {stage.ppid()}, once of {self.process.pid}"
                assert time.monotonic() < deadline, f"a stage outlived its run: {told}"
                time.sleep(0.02)

    def kill_stage(self) -> str:
        """Kill the stage's process alone; returns its name, '' when none is at work."""
        found = self.stage()
        if found is None:
            return ""
        with suppress(psutil.NoSuchProcess):
            found[1].kill()
            return found[0]
        return ""

    def kill_server(self) -> bool:
        """Kill the Prefect server alone; returns whether there was one."""
        found = self.server()
        if found is None:
            return False
        found.kill()
        with suppress(psutil.TimeoutExpired):
            found.wait(0.5)  # where this try is its parent it stays a zombie
        return True


def stop(root: Path) -> None:
    """End what a project has left running."""
    servers.stop(root)
