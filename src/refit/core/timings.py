"""How long each stage took when it last ran on this machine, through either door.

The process of a stage appends a line to the file. The file is not a result: losing it loses only
these figures.
"""

import contextlib
import json
import time
from pathlib import Path

from refit.core import paths


def append(stage: str, seconds: float) -> None:
    """Append one run of a stage; where the file cannot be written, do nothing."""
    line = json.dumps({"stage": stage, "seconds": round(seconds, 2), "ended": int(time.time())})
    with contextlib.suppress(OSError):
        paths.TIMINGS.parent.mkdir(parents=True, exist_ok=True)
        with paths.TIMINGS.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")


def seconds(root: Path) -> dict[str, float]:
    """Seconds of each stage's newest run."""
    newest: dict[str, float] = {}
    with contextlib.suppress(OSError):
        for line in (root / paths.TIMINGS).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError):
                entry = json.loads(line)
                newest[str(entry["stage"])] = float(entry["seconds"])
    return newest
