"""DVC's door: `python -m refit STAGE`, the command of every stage in dvc.yaml.

The stage is imported by name so that the import graph ties each stage to its own code alone.
"""

import importlib
import pkgutil
import sys
import time
from types import ModuleType

from refit.core import determinism, params, timings
from refit.core.errors import RefitError, SetupError
from refit.core.orphans import die_with_parent

INTERRUPTED = 130
"""What a shell reports of a program that was ended by Ctrl-C."""


def main(arguments: list[str]) -> int:
    """Run one stage in this process; a user's fault is one paragraph on stderr and status 1."""
    try:
        die_with_parent()
        determinism.apply(_level(arguments))
        stage, started = _stage(arguments), time.monotonic()
        stage.main()
        timings.note(arguments[0], time.monotonic() - started)
    except RefitError as error:
        print(f"refit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _level(arguments: list[str]) -> determinism.Level:
    """Training follows params.yaml; every other stage keeps the strictest promise."""
    if arguments != ["train"]:
        return determinism.STRICTEST
    return params.choice("determinism", determinism.LEVELS)


def _stage(arguments: list[str]) -> ModuleType:
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
