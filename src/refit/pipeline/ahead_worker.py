"""The second process of a run: `python -m refit.pipeline.ahead_worker BESIDE STAGE...`.

It brings each STAGE up to date and records it, then computes the stage BESIDE (which may be '')
without recording it. It reports on stdout, one JSON object on each line: a line that a stage
printed, or how the stage ended. See refit.pipeline.ahead.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from refit.core import determinism, params
from refit.core.errors import DiskError, RefitError
from refit.core.orphans import die_with_parent
from refit.pipeline import dvc_internals
from refit.pipeline.dvc import WAIT, Pipeline
from refit.pipeline.repository import open_repository
from refit.workspace import memory

Report = Callable[..., None]
"""Takes a stage, and what is to be said of it."""
MEMORY_FACTOR = 16
"""Bytes to ask for each byte of the inputs: twice what baseline and train took on the flights."""
MEMORY_BASE = 2 * memory.GIB
"""Bytes that they take for their code."""


def main(beside: str, *stages: str) -> int:
    """Do what the arguments say; returns the exit status."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        die_with_parent()
        return _work(beside, stages, _reports())
    except RefitError:
        return 1  # the run meets the same error, and reports it
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it would interrupt Python's own end


def _work(beside: str, stages: tuple[str, ...], report: Report) -> int:
    with open_repository(Path.cwd(), wait=WAIT) as repository:
        pipeline = Pipeline(repository=repository, warnings=dvc_internals.silence())
        for stage in stages:
            if not _run(pipeline, stage, report):
                return 1
        if beside and _has_memory(pipeline, beside):
            _leave_a_core()
            _run(pipeline, beside, report, record=False)
    return 0


def _run(pipeline: Pipeline, stage: str, report: Report, *, record: bool = True) -> bool:
    """Run one stage and report its end; returns whether it succeeded."""
    try:
        result = pipeline.run(stage, on_output=lambda text: report(stage, line=text), record=record)
    except RefitError as error:
        report(stage, error=str(error))
        return False
    except OSError as error:
        report(stage, error=str(DiskError.of(error)))
        return False
    report(**asdict(result))
    return True


def _has_memory(pipeline: Pipeline, stage: str) -> bool:
    """Whether the stage and the one beside it, which has about as many rows, find memory."""
    return memory.free() >= MEMORY_BASE + MEMORY_FACTOR * pipeline.input_bytes(stage)


def _leave_a_core() -> None:
    """Let the stage's threads not wait for the core on which the other stage works.

    At the level `machine` their number decides about the bytes.
    """
    with contextlib.suppress(RefitError):
        if params.choice("determinism", determinism.LEVELS) != "machine":
            os.environ.setdefault(determinism.THREADS, str(max(1, determinism.cores() - 1)))


def _reports() -> Report:
    """Report through the present stdout; whatever prints to stdout from now on goes to stderr."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(stage: str, **event: Any) -> None:
        print(json.dumps({"stage": stage, **event}), file=output, flush=True)

    return report


def _stop(number: int, frame: FrameType | None) -> None:
    """End as after Ctrl-C, so that the stage at work is asked to end as well."""
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
