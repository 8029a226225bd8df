"""One attempt to bring a project up to date through one of the doors, and its processes.

A process is killed only if this attempt started it or is its parent, or if the project's
servers.json names it: other projects run the same programs on the same machine.
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
LIMIT = 600.0
"""Seconds after which an undisturbed attempt counts as stuck."""
PATIENCE = 240.0
"""Seconds within which a stage must have ended after its run."""


@dataclass
class Attempt:
    """The commands of a door, one after another; each begins when the one before has succeeded."""

    project: Any
    door: str
    output: IO[str]
    done: int = 0
    process: "subprocess.Popen[str]" = field(init=False)

    def __post_init__(self) -> None:
        """Start the first command."""
        self._start()

    def _start(self) -> None:
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
        """Whether the last command has ended or one has failed; starts the next command when due."""
        if self.process.poll() is None:
            return False
        if self.process.returncode == 0 and self.done + 1 < len(DOORS[self.door]):
            self.done += 1
            self._start()
            return False
        return True

    def wait(self) -> int:
        """Wait until the attempt is over; returns the exit status."""
        deadline = time.monotonic() + LIMIT
        while not self.over():
            assert time.monotonic() < deadline, "the attempt is stuck"
            time.sleep(0.02)
        return int(self.process.returncode)

    def stage(self) -> tuple[str, psutil.Process] | None:
        """The running stage and its process."""
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    module, name = ["", "", *child.cmdline()][-2:]  # a new process has none
                    if module == "refit" and name in STAGES:
                        return name, child
        return None

    def server(self) -> psutil.Process | None:
        """The Prefect server of the project."""
        server = servers.running(self.project.root).get("prefect")
        with suppress(psutil.Error):
            return psutil.Process(server.pid) if server else None
        return None

    def kill(self) -> None:
        """Kill the command, and wait until it, its second process and its stages have ended."""
        stage, ahead = self.stage(), self.ahead()
        self.process.kill()
        self.process.wait()
        if stage is not None:
            self._await_end(stage[1])
        deadline = time.monotonic() + PATIENCE
        for pid in ahead:
            while psutil.pid_exists(pid):  # DVC takes a zombie for a living process
                assert time.monotonic() < deadline, "the second process outlived its run"
                time.sleep(0.02)

    def ahead(self) -> list[int]:
        """The ids of the processes that work ahead of the run: one or none."""
        pids = []
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.Error):
                    if "refit.pipeline.ahead_worker" in child.cmdline():
                        pids.append(child.pid)
        return pids

    def _await_end(self, stage: psutil.Process) -> None:
        """Wait until the stage has ended, by the kernel or because it found its parent dead."""
        deadline = time.monotonic() + PATIENCE
        with suppress(psutil.NoSuchProcess):
            while stage.status() != psutil.STATUS_ZOMBIE:  # the first process may collect it late
                state = (
                    f"{stage} {stage.cmdline()}, parent {stage.ppid()}, first {self.process.pid}"
                )
                assert time.monotonic() < deadline, f"a stage outlived its run: {state}"
                time.sleep(0.02)

    def kill_stage(self) -> str:
        """Kill only the stage's process; returns the stage's name, '' without a running stage."""
        stage = self.stage()
        if stage is None:
            return ""
        with suppress(psutil.NoSuchProcess):
            stage[1].kill()
            return stage[0]
        return ""

    def kill_server(self) -> bool:
        """Kill only the Prefect server; returns whether there was one."""
        server = self.server()
        if server is None:
            return False
        server.kill()
        with suppress(psutil.TimeoutExpired):
            server.wait(0.5)  # if this process is its parent, it stays a zombie
        return True


def stop(root: Path) -> None:
    """Stop the servers of a project."""
    servers.stop(root)
