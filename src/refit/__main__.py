"""`python -m refit STAGE`: the command of every stage in dvc.yaml, for both doors.

The stage is imported by name, so that its import graph holds its own code alone.
"""

import importlib
import os
import pkgutil
import sys
import time
from types import ModuleType

from refit.core import determinism, params, run_record, timings
from refit.core.errors import RefitError, SetupError
from refit.core.orphans import die_with_parent
from refit.core.run_record import RunRecord, StageStopped

INTERRUPTED = 130
"""The status of a program that Ctrl-C ended, as shells report it."""


def main(arguments: list[str]) -> int:
    """Run one stage in this process; an error is one paragraph on stderr."""
    started = time.time()
    status, error = _run(arguments)
    if error:
        print(f"refit: {error}", file=sys.stderr)
    run_record.send(
        RunRecord(
            stage=" ".join(arguments),
            pid=os.getpid(),
            started=started,
            ended=time.time(),
            status=status,
            error=error,
        )
    )
    return status


def _run(arguments: list[str]) -> tuple[int, str]:
    """Run the stage; returns the exit status and the error's paragraph."""
    try:
        die_with_parent()
        determinism.apply(_level(arguments))
        stage, started = _stage(arguments), time.monotonic()
        stage.main()
        timings.append(arguments[0], time.monotonic() - started)
    except RefitError as error:
        return 1, str(error)
    except StageStopped as stopped:
        return stopped.status, str(stopped)
    except KeyboardInterrupt:
        return INTERRUPTED, ""
    return 0, ""


def _level(arguments: list[str]) -> determinism.Level:
    """params.yaml chooses the level of training; every other stage keeps the strictest."""
    if arguments != ["train"]:
        return determinism.STRICTEST
    return params.choice("determinism", determinism.LEVELS)


def _stage(arguments: list[str]) -> ModuleType:
    """The module of the stage that the arguments name."""
    stages = importlib.import_module("refit.stages")
    names = sorted(module.name for module in pkgutil.iter_modules(stages.__path__))
    if len(arguments) != 1 or arguments[0] not in names:
        raise SetupError(
            "one stage must be named",
            got=" ".join(arguments) or "nothing",
            expected=f"one of {', '.join(names)}",
            do="leave this to `dvc repro` or `refit run`, which name the stages of dvc.yaml",
        )
    return importlib.import_module(f"refit.stages.{arguments[0]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
