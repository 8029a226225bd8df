"""What the ledger fixes about versions, compared with what the registry says of them.

Each check gives sentences, one for each thing that was changed by hand.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

from refit.registry.artifact_store import bundle_folder
from refit.registry.entry import Entry, PolicyKind, text_digest
from refit.registry.ledger import Ledger
from refit.registry.version import DIFFERS, GRADE, OUTCOME, REPRODUCED, Place, Version
from refit.reproducibility.grade import best_grade

AHEAD = timedelta(hours=1)
"""How far the clock of another machine may be ahead."""
DECIDED = get_args(PolicyKind)

Versions = Mapping[int, Version]
"""By number."""


def impossible_times(ledger: Ledger) -> Iterator[str]:
    """Entries that are dated in the future, or before the entry that they follow."""
    latest, last = datetime.now(UTC) + AHEAD, None
    for number, entry in ledger.entries:
        if entry.moment > latest:
            yield f"entry {number} is dated in the future: {entry.at}"
        if last is not None and entry.moment < last:
            yield f"entry {number} is dated before the one that it follows: {entry.at}"
        last = entry.moment


def odd_marks(versions: Versions) -> Iterator[str]:
    """Tags that look like the mark of an entry and are none."""
    for number, version in versions.items():
        for tag in version.odd_tags:
            yield f"the tag `{tag}` of version {number} names no entry"


def changed_facts(ledger: Ledger, versions: Versions) -> Iterator[str]:
    """Versions whose run or tags are not those that they were registered with."""
    for number, version in versions.items():
        entered = next((e.facts for e in ledger.about(number) if e.facts), "")
        if entered and version.facts != entered:
            yield (
                f"the run or the tags of version {number} (bundle, commit, data, packages) are not"
                " those that it was registered with"
            )


def changed_outcomes(ledger: Ledger, versions: Versions) -> Iterator[str]:
    """Versions whose outcome is not that of the last decision about them."""
    for number, version in versions.items():
        entered = [e.kind for e in ledger.about(number) if e.key and e.kind in DECIDED]
        wanted = entered[-1] if entered else None
        tagged = version.tags.get(OUTCOME)
        if tagged != wanted:
            yield (
                f"the outcome of version {number} is {tagged or 'missing'}, by the ledger"
                f" {wanted or 'none'}"
            )


def lost_evidence(ledger: Ledger, versions: Versions) -> Iterator[str]:
    """Decisions whose evidence does not stand on their version, if that is there."""
    for number, entry in ledger.entries:
        version = versions.get(entry.version or 0)
        if version is None or not entry.evidence or entry.kind == "reproduce":
            continue
        if entry.evidence not in set(map(text_digest, version.tags.values())):
            yield (
                f"the evidence of entry {number} on version {entry.version} was changed or is gone"
            )


def changed_grades(ledger: Ledger, versions: Versions) -> Iterator[str]:
    """Versions whose grade, or what is recorded of a reproduction, was not entered."""
    for number, version in versions.items():
        entries = [e for e in ledger.about(number) if e.kind == "reproduce"]
        wanted = best_grade(entry.grade for entry in entries)
        tagged = version.tags.get(GRADE)
        if tagged != wanted:
            yield (
                f"the grade of version {number} is {tagged or 'missing'}, by the ledger"
                f" {wanted or 'none'}"
            )
        yield from _changed_records(version, entries)


def _changed_records(version: Version, entries: Sequence[Entry]) -> Iterator[str]:
    wanted = {record_tag(entry.grade): entry.evidence for entry in entries}
    stored = {
        tag: text_digest(text)
        for tag, text in version.tags.items()
        if tag.startswith(REPRODUCED) or tag == DIFFERS
    }
    for tag in sorted(wanted.keys() | stored.keys()):
        if wanted.get(tag) != stored.get(tag):
            yield (
                f"the tag {tag} of version {version.number} is not what the ledger entered of that"
                " reproduction"
            )


def record_tag(grade: str) -> str:
    """The tag that holds the last reproduction of this grade; of differing bytes for ''."""
    return f"{REPRODUCED}{grade}" if grade else DIFFERS


def moved_artifacts(places: Sequence[Place], versions: Versions, own: str) -> Iterator[str]:
    """Versions whose artifacts are said to be elsewhere than where their run keeps them.

    Args:
        places: of the versions.
        versions: by number.
        own: the folder of the project's own artifacts; '' where the registry is shared.
    """
    for place in places:
        version = versions.get(place.version)
        if version is None or not place.run:
            continue
        folder = bundle_folder(version.digest)
        run = f"{place.runs}/{version.run}/artifacts"
        expected = (
            (place.source, {f"runs:/{version.run}/{folder}"}),
            (place.run, {run}),
            (place.stored, {"", place.source, f"{run}/{folder}"}),
            (place.runs, {own or place.runs}),
        )
        for address, wanted in expected:
            if address not in wanted:
                yield (
                    f"the artifacts of version {place.version} are said to be at {address}, not"
                    f" where they were uploaded: {max(wanted)}"
                )
