"""One entry of the ledger: who decided what about which version, when, why and on what evidence."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Literal, get_args

PolicyKind = Literal["promote", "reject", "not proven", "wait"]
"""What the policy decided; `wait`: every gate passed, and a person decides."""
PersonKind = Literal["approve", "reject", "rollback"]
"""What a person decided."""
UpkeepKind = Literal["alias", "repair"]
"""How the ledger was kept: an alias was set back, or a new start was made after damage."""
Kind = PolicyKind | PersonKind | UpkeepKind
PERSON_KINDS: frozenset[str] = frozenset(get_args(PersonKind))
KINDS = PERSON_KINDS.union(get_args(PolicyKind), get_args(UpkeepKind))
START = "0" * 64
"""The previous digest that the first entry names."""
ENTRY_TAG = "refit.entry."
"""Start of the tag that holds the digest of an entry on the version that the entry is about."""


def text_digest(text: str) -> str:
    """SHA-256 of a stored text: an entry, a decision, a policy."""
    return hashlib.sha256(text.encode()).hexdigest()


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
    """SHA-256 of the decision recorded on the version; empty where there is no key."""
    policy: str = ""
    """SHA-256 of the policy; empty where there is no key."""
    holdout: str = ""
    """SHA-256 of the holdout rows; empty where there is no key."""
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
        valid = entry.kind in KINDS and entry.moment.tzinfo is not None
        return entry if valid and entry.text() == text else None
    except (ValueError, AttributeError, TypeError):
        return None
