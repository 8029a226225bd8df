"""A registered version, and the names of the tags that it carries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from refit.registry.entry import ENTRY_TAG, entry_number, text_digest

DIGEST = "refit.digest"
"""Tag: the digest of the bundle."""
EXAMPLES = "refit.examples"
"""Tag: the digest of the stored example rows."""
SIGNATURE_TAG = "refit.signature"
"""Tag: the digest of the bundle's signature, which can then be read without the model."""
PARTITIONS = "refit.partitions"
"""Tag: the digest of the partitions that the version was made from."""
RELEASE = "refit.release"
"""Tag: `all` where the model that goes live has learnt every row, and its twin was evaluated."""
COMMIT = "refit.commit"
"""Tag: the commit that the version was made from."""
OUTCOME = "refit.outcome"
"""Tag: the kind of the last decision about the version."""
DECISION = "refit.decision."
"""Start of the tags that hold decisions, as JSON."""
REVIEWED = "refit.reviewed."
"""Start of the tags that say that the review of a decision was made."""
GRADE = "refit.grade"
"""Tag: the best grade of reproducibility."""
REPRODUCED = "refit.reproduced."
"""Start of the tags that say when and where a grade was reached."""
DIFFERS = "refit.differs"
"""Tag: the last reproduction that gave other bytes."""
LOST_TAG = "refit.lost."
"""Start of the tag on a version: the digest of an entry that was gone when the ledger was repaired,
by the entry's number."""
LATER = (OUTCOME, DECISION, REVIEWED, GRADE, REPRODUCED, DIFFERS, ENTRY_TAG, LOST_TAG)
"""Starts of the tags that are written after a version was registered."""
NUMBER = "the number of a version"
"""What errors call it."""
DECISION_FIELDS = frozenset({"outcome", "key", "sentence", "evidence"})
"""Fields of every recorded decision."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version."""

    number: int
    digest: str
    """Of the bundle."""
    run: str
    created: int
    """Milliseconds since 1970, UTC."""
    tags: Mapping[str, str]

    @property
    def is_release(self) -> bool:
        """Whether a release fit goes live in place of the evaluated model."""
        return RELEASE in self.tags

    @property
    def registered(self) -> str:
        """When it was registered."""
        try:
            return f"{datetime.fromtimestamp(self.created / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        except (OverflowError, ValueError, OSError):
            return "at an impossible time"

    @property
    def entry_tags(self) -> dict[str, str]:
        """The tags that hold digests of entries about the version."""
        return {tag: value for tag, value in self.tags.items() if entry_number(tag) is not None}

    @property
    def odd_tags(self) -> list[str]:
        """Tags that look like entry tags, but name no entry."""
        return [t for t in self.tags if t.startswith(ENTRY_TAG) and entry_number(t) is None]

    @property
    def facts(self) -> str:
        """SHA-256 of what the version was registered with: its run, and Refit's tags."""
        tags = {
            name: value
            for name, value in self.tags.items()
            if name.startswith("refit.") and not name.startswith(LATER)
        }
        return text_digest(json.dumps({"run": self.run, "tags": tags}, sort_keys=True))

    @property
    def recorded(self) -> dict[str, str]:
        """The text of every recorded decision, by its digest."""
        tags = sorted(tag for tag in self.tags if tag.startswith(DECISION))
        return {text_digest(self.tags[tag]): self.tags[tag] for tag in tags}

    def decision(self, evidence: str) -> dict[str, Any] | None:
        """The recorded decision with this digest; None if it is gone or was changed."""
        return _parse_decision(self.recorded.get(evidence, ""))

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision recorded on the version."""
        parsed = map(_parse_decision, self.recorded.values())
        return [decision for decision in parsed if decision is not None]


def partitions_digest(lineage: Mapping[str, Any]) -> str:
    """The digest of the partitions that a lineage names, and of what each model has learnt."""
    named: Any = lineage["partitions"]
    if "trained_on" in lineage:
        named = {"partitions": named, "trained_on": lineage["trained_on"]}
    return text_digest(json.dumps(named, sort_keys=True))


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the artifacts of a version are said to be."""

    version: int
    source: str
    """Address of its bundle, as it was registered: `runs:/RUN/FOLDER`."""
    stored: str
    """Address of its bundle, as MLflow's other clients resolve it; '' if they use the source."""
    run: str
    """Address of the artifacts of its run; '' if the run is gone."""
    runs: str
    """The folder of all artifacts of the run's experiment."""


def reviewed_tag(key: str) -> str:
    """The tag that says that the review of a decision was made."""
    return f"{REVIEWED}{key[:16]}"


def decision_tag(key: str, text: str) -> str:
    """The tag of a recorded decision.

    Concurrent deciders record different timings, so each text gets its own tag. The ledger names
    the text that counts.
    """
    return f"{decision_tags(key)}{text_digest(text)[:8]}"


def decision_tags(key: str) -> str:
    """Start of the tags of every text recorded for a decision."""
    return f"{DECISION}{key[:16]}."


def _parse_decision(text: str) -> dict[str, Any] | None:
    """A recorded decision; None if the text is missing or was replaced by something else."""
    try:
        decision: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        return None
    valid = isinstance(decision, dict) and decision.keys() >= DECISION_FIELDS
    valid = valid and isinstance(decision["evidence"], dict)
    return decision if valid else None
