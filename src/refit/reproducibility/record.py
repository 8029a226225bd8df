"""Records on a version what a reproduction reached, and enters it in the ledger.

The entry fixes the grade and the record: a tag alone could be changed unseen.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime

from refit.registry import reconcile
from refit.registry.entry import Entry, text_digest
from refit.registry.ledger import Ledger
from refit.registry.registry import Registry
from refit.registry.version import DIFFERS, GRADE, REPRODUCED
from refit.reproducibility.grade import Grade, best_grade
from refit.reproducibility.reproduce import Reproduction
from refit.workspace import git

LISTED = 3
"""Lines of the first difference that are recorded."""


def record(registry: Registry, number: int, reproduction: Reproduction) -> None:
    """Tag a version with the reproduction: its grade, or how the bytes differ.

    Raises:
        RegistryError: the ledger was changed by hand or contradicts its anchor.
    """
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
    text = json.dumps(result, sort_keys=True)
    with registry.locked():
        ledger = reconcile.confirmed(registry, signed=False)
        tags = {f"{REPRODUCED}{grade}": text} if grade else {DIFFERS: text}
        best = best_grade((grade or "", *(entry.grade for entry in ledger.about(number))))
        if grade and best:
            tags[GRADE] = best
        reconcile.enter(registry, lambda now: _entry(registry, now, number, grade, text))
        registry.tags.set(number, tags)


def _entry(
    registry: Registry, ledger: Ledger, number: int, grade: Grade | None, text: str
) -> Entry:
    return ledger.entry(
        "reproduce",
        who=git.user(registry.root),
        why=f"the same bytes: grade {grade}" if grade else "not the same bytes",
        version=number,
        after=ledger.champion,
        evidence=text_digest(text),
        grade=grade or "",
    )
