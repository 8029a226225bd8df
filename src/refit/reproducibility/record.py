"""Records on a version what a reproduction reached."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

from refit.registry.registry import Registry
from refit.registry.version import DIFFERS, GRADE, REPRODUCED
from refit.reproducibility.grade import better_grade
from refit.reproducibility.reproduce import Reproduction

LISTED = 3
"""Lines of the first difference that are recorded."""


def record(registry: Registry, number: int, reproduction: Reproduction) -> None:
    """Tag a version with the reproduction: its grade, or how the bytes differ."""
    result = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(reproduction.machine),
        "seconds": round(reproduction.seconds, 1),
        "threads": reproduction.threads,
    }
    grade = reproduction.grade
    if grade is None:
        first = reproduction.differences[0]
        result |= {"stage": first.stage, "path": first.path, "how": first.lines[:LISTED]}
        tags = {DIFFERS: json.dumps(result, sort_keys=True)}
    else:
        best = better_grade(grade, registry.versions.get(number).tags.get(GRADE))
        tags = {
            f"{REPRODUCED}{grade}": json.dumps(result, sort_keys=True),
            GRADE: best,
        }
    registry.tags.set(number, tags)
