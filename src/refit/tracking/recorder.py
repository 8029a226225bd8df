"""A second process writes the MLflow run of a training, so that the training need not load MLflow.

MLflow's import and its first use of a database take several seconds. The training sends one JSON
object on each line to `python -m refit.tracking.recorder`, which hands them to Tracker. Sending
never waits, and an error costs one warning. The second process dies with the training, whose run
then stays open until it is resumed.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from refit.core.orphans import PARENT, die_with_parent
from refit.tracking.run import Tracker, TrainingRun, status

PATIENCE = 60.0
"""Seconds that the second process may take to write what it has, when the training has ended."""


class Recorder:
    """The MLflow run of one training; use it in a `with` statement.

    Args:
        training: describes the run.
        root: of the project.
    """

    def __init__(self, training: TrainingRun, root: Path) -> None:
        self._training, self._root = training, root
        self._queue: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        """Start the second process."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "refit.tracking.recorder"],
            cwd=self._root,
            env={**os.environ, PARENT: str(os.getpid())},
            text=True,
            stdin=subprocess.PIPE,
        )
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()
        self._queue.put(asdict(self._training))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send how the training ended, and wait until everything is written."""
        self._queue.put({"end": status(kind)})
        self._queue.put(None)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode:
            print("warning: the training's MLflow run is not complete", file=sys.stderr, flush=True)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics at a step; steps that the run already has are skipped."""
        values = {key: float(value) for key, value in metrics.items()}
        self._queue.put({"metrics": values, "step": step, "at": time.time()})

    def artifact(self, path: Path) -> None:
        """Log a small file."""
        self._queue.put({"artifact": str(path)})

    def _send(self) -> None:
        """Send what is queued, in a thread of its own; the second process may have died."""
        assert self._process.stdin is not None
        with suppress(OSError), self._process.stdin as lines:
            while (event := self._queue.get()) is not None:
                lines.write(f"{json.dumps(event)}\n")
                lines.flush()


def main(lines: Iterable[str]) -> None:
    """Write the run that the lines tell of."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training's to answer
    die_with_parent()
    events = map(json.loads, lines)
    tracker = Tracker(TrainingRun(**next(events)), Path.cwd())
    tracker.open()
    for event in events:
        if "metrics" in event:
            tracker.log(event["metrics"], event["step"], event["at"])
        elif "artifact" in event:
            tracker.artifact(Path(event["artifact"]))
        else:
            tracker.close(event["end"])


if __name__ == "__main__":
    main(sys.stdin)
