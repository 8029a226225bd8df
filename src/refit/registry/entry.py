"""One entry of the ledger: who decided what about which version, when, why and on what evidence."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Literal, get_args

PolicyKind = Literal["promote", "reject", "not proven", "wait"]
"""What the policy decided; `wait`: every gate passed, and a person decides."""
PersonKind = Literal["approve", "reject", "rollback"]
"""What a person decided."""
UpkeepKind = Literal["alias", "repair", "reproduce"]
"""How the ledger was kept: an alias was set back, or a new start was made after damage; or a
reproduction was recorded, which decides nothing."""
Kind = PolicyKind | PersonKind | UpkeepKind
PERSON_KINDS: frozenset[str] = frozenset(get_args(PersonKind))
ANSWERS = PERSON_KINDS | {"repair"}
"""Entries that only a person makes. They can be signed."""
KINDS = PERSON_KINDS.union(get_args(PolicyKind), get_args(UpkeepKind))
START = "0" * 64
"""The previous digest that the first entry names."""
ENTRY_TAG = "refit.entry."
"""Start of the tag that holds the digest of an entry on the version that the entry is about."""
MARK = re.compile(rf"{re.escape(ENTRY_TAG)}([1-9][0-9]{{0,8}})")
COMMIT_ID = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})?")
LARGEST_VERSION = 2**31 - 1
"""The largest number that MLflow's database takes."""
NUMBERS = ("version", "before", "after")
"""Fields of an entry that are numbers of versions; all others are texts."""


def text_digest(text: str) -> str:
    """SHA-256 of a stored text: an entry, a decision, a policy."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def entry_number(tag: str) -> int | None:
    """The number of the entry that a version's tag marks; None if the tag is no such mark."""
    match = MARK.fullmatch(tag)
    return int(match[1]) if match else None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the ledger. It is written once and never changed."""

    kind: Kind
    at: str
    """Time in UTC, ISO 8601; never earlier than that of the previous entry."""
    who: str
    why: str
    version: int | None
    """The version that was decided about; None only where a rollback leaves no champion."""
    before: int | None
    """The champion before the decision."""
    after: int | None
    """The champion after the decision."""
    key: str = ""
    """Digest of everything that the policy's decision depends on; empty in other entries."""
    evidence: str = ""
    """SHA-256 of the decision, or of the reproduction, recorded on the version; may be empty."""
    policy: str = ""
    """SHA-256 of the policy; empty where there is no key."""
    holdout: str = ""
    """SHA-256 of the holdout rows; empty where there is no key."""
    facts: str = ""
    """SHA-256 of what the version was registered with; empty where nothing was judged."""
    grade: str = ""
    """The grade that a reproduction reached; empty if bytes differed, and in other entries."""
    replaces: str = ""
    """In a repair: the anchored commit whose line it gives up (see refit.registry.anchor)."""
    previous: str
    """Digest of the previous entry."""

    @property
    def by_person(self) -> bool:
        """Whether a person decided. The policy's decisions have a key."""
        return self.kind in PERSON_KINDS and not self.key

    @property
    def digest(self) -> str:
        """SHA-256 over every field."""
        return text_digest(self.text())

    @property
    def moment(self) -> datetime:
        """`at` as a datetime."""
        return datetime.fromisoformat(self.at)

    def text(self) -> str:
        """The stored form: JSON, the same text for the same content.

        Empty optional fields are left out, so that a field added later changes no stored digest.
        """
        empty = {field.name for field in fields(self) if getattr(self, field.name) == field.default}
        stored = {name: value for name, value in asdict(self).items() if name not in empty}
        return json.dumps(stored, sort_keys=True, separators=(",", ":"))


def parse_entry(text: str) -> Entry | None:
    """The entry of a stored text; None if the text is not an entry exactly as it was written."""
    try:
        entry = Entry(**json.loads(text))
        return entry if _valid(entry) and entry.text() == text else None
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return None


def _valid(entry: Entry) -> bool:
    """Whether each field has its type and a possible value."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    numbers = [values.pop(name) for name in NUMBERS]
    return (
        all(isinstance(value, str) for value in values.values())
        and entry.kind in KINDS
        and entry.moment.utcoffset() == timedelta(0)
        and all(number is None or _is_version(number) for number in numbers)
        and (entry.version is not None or entry.kind in {"rollback", "repair"})
        and COMMIT_ID.fullmatch(entry.replaces) is not None
    )


def _is_version(number: object) -> bool:
    return type(number) is int and 1 <= number <= LARGEST_VERSION
