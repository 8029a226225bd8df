"""Stages that a second process brings up to date before the run comes to them.

The second process takes the stages in their order, as `dvc repro` does, while this one still loads
Prefect and waits for its server. Where two stages do not need each other it takes the second while
this process takes the first. That one is not recorded in dvc.lock: its result goes into DVC's run
cache, from where this process restores and records it in its turn. So dvc.lock grows in the same
order, through either door.

The second process (refit.pipeline.ahead_worker) dies with this one, and what it leaves is what any
killed run leaves. Where it cannot help it ends, and this process runs the stages itself.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from refit.core import determinism
from refit.core.errors import PipelineError
from refit.core.orphans import PARENT
from refit.pipeline.stage_output import OnOutput, Outcome, StageResult

GRACE = 30.0
"""Seconds that a stage may take to end after SIGTERM; a training writes a checkpoint first."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the second process does."""

    first: tuple[str, ...] = ()
    """Stages that it brings up to date and records, in the order of `dvc repro`."""
    beside: str = ""
    """A stage that it computes then, beside the next stage of this process; '' for none."""


def plan(needs: Mapping[str, set[str]], changed: Collection[str], *, kept: Collection[str]) -> Plan:
    """What can be done ahead of a run; nothing where that would not save time.

    Args:
        needs: each stage in the order of `dvc repro`, with all stages that it needs, also through
            others.
        changed: the stages that have changed.
        kept: the stages whose results DVC keeps in its run cache.
    """
    order = list(needs)
    due = {stage for stage in order if {stage, *needs[stage]}.intersection(changed)}
    position, beside = _fork(needs, kept)
    first = tuple(order[:position])
    if beside and not due >= {order[position], beside}:
        beside = ""
    return Plan(first=first, beside=beside) if beside or due & {*first} else Plan()


def _fork(needs: Mapping[str, set[str]], kept: Collection[str]) -> tuple[int, str]:
    """The first position at which a later stage could run as well, and that stage."""
    order = list(needs)
    for position in range(len(order)) if determinism.cores() > 1 else ():
        done = set(order[:position])
        for stage in order[position + 1 :]:
            if needs[stage] <= done and stage in kept:
                return position, stage
    return len(order), ""


class Ahead:
    """The second process of a run."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._events: dict[str, SimpleQueue[dict[str, Any] | None]] = {}
        self._recorded: tuple[str, ...] = ()
        self.begun = False
        """Whether a plan was made, even one with nothing to do."""

    def begin(self, root: Path, what: Plan) -> None:
        """Start the process, unless it has nothing to do."""
        self.begun = True
        stages = [*what.first, *filter(None, [what.beside])]
        if not stages:
            return
        self._events = {stage: SimpleQueue() for stage in stages}
        self._recorded = what.first
        self._process = subprocess.Popen(
            [sys.executable, "-m", "refit.pipeline.ahead_worker", what.beside, *what.first],
            cwd=root,
            env={**os.environ, PARENT: str(os.getpid())},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def result(self, stage: str, on_output: OnOutput) -> StageResult | None:
        """Wait for the stage, and hand on what it prints; None where this process must run it.

        Raises:
            PipelineError: it failed.
        """
        for event in self._take(stage):
            if "line" in event:
                on_output(event["line"])
            elif "error" in event:
                raise PipelineError(event["error"])
            else:
                outcome = Outcome(event.pop("outcome"))
                return StageResult(stage=stage, outcome=outcome, **event)
        return None

    def takes(self, stage: str) -> bool:
        """Whether the stage is one of those that the process was started for."""
        return stage in self._events

    def has_recorded(self, stage: str) -> bool:
        """Whether the process records the stage in dvc.lock."""
        return stage in self._recorded

    def close(self) -> None:
        """End the process, if it still works because the run has failed."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _take(self, stage: str) -> Iterator[dict[str, Any]]:
        """The events of a stage, until the process ends."""
        events = self._events.get(stage)
        while events is not None and (event := events.get()) is not None:
            yield event

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Sort the events by stage, in a thread of its own."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                event = json.loads(line)
                self._events[event.pop("stage")].put(event)
        for events in self._events.values():
            events.put(None)
