"""How long each stage took when it last ran here, whichever door it was run through.

The process of a stage appends a line; the file belongs to the machine, not to the results, and
losing it loses nothing but these figures.
"""

import contextlib
import json
import time
from pathlib import Path

from refit.core import paths


def note(stage: str, seconds: float) -> None:
    """Append one execution; a place that cannot be written is no reason to fail a stage."""
    line = json.dumps({"stage": stage, "seconds": round(seconds, 2), "ended": int(time.time())})
    with contextlib.suppress(OSError):
        paths.TIMINGS.parent.mkdir(parents=True, exist_ok=True)
        with paths.TIMINGS.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")


def seconds(root: Path) -> dict[str, float]:
    """Seconds of each stage's newest execution."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError):
        for line in (root / paths.TIMINGS).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError):
                entry = json.loads(line)
                found[str(entry["stage"])] = float(entry["seconds"])
    return found
