"""The ledger: who made which version champion when, why, on what evidence; chained.

Each entry names the digest of the one before it and the champion that it found. Of several writers
who append at the same moment, the registry gives each a number of its own, and the first one's
entry counts: the others name a predecessor that no longer is the last, so every reader passes them
over, and their writers decide again. That is a compare-and-set for any number of processes and
machines, made of nothing but numbers that are given once. Aliases are copies of what the ledger
says, for readers of the registry, and can be set again from it at any time.

What was changed or taken away by hand shows, because digests no longer fit; who may write to the
registry may still append an entry of his own, for nothing is signed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Literal, Protocol, get_args

from refit.core.errors import RegistryError

Judged = Literal["promote", "reject", "not proven", "wait"]
"""What the policy decided; `wait`: it passed, and a person decides."""
Answered = Literal["approve", "decline", "rollback"]
"""What a person decided."""
Kept = Literal["adopt", "alias", "mend"]
"""How the ledger was kept: a champion of before it, an alias put back, a new start after damage."""
Kind = Judged | Answered | Kept
KINDS: frozenset[str] = frozenset(
    kind for group in (Judged, Answered, Kept) for kind in get_args(group)
)
BEGINNING = "0" * 64
"""What the first entry names as the digest before it."""
Marks = Mapping[int, Mapping[str, str]]
MARK = "refit.entry."
"""Tag on a version: the digest of an entry about it, by the entry's number."""
ATTEMPTS = 100
"""Races that may be lost before an append gives up; each is won by somebody."""


def digest(text: str) -> str:
    """SHA-256 of what was written: of an entry, of a decision, of a policy."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One decision, once and for all."""

    kind: Kind
    at: str
    """Moment in UTC, ISO 8601; never earlier than the entry before."""
    who: str
    why: str
    version: int | None
    """What was decided about; None only where a rollback leaves no champion."""
    before: int | None
    """The champion that the decision found."""
    after: int | None
    """The champion from then on."""
    key: str = ""
    """What the decision depends on; empty where the policy did not decide."""
    evidence: str = ""
    """SHA-256 of the decision that stands on the version; empty as above."""
    policy: str = ""
    """SHA-256 of the policy; empty as above."""
    holdout: str = ""
    """SHA-256 of the holdout rows; empty as above."""
    previous: str
    """Digest of the entry before."""

    @property
    def digest(self) -> str:
        """SHA-256 over every field."""
        return digest(self.text())

    @property
    def moment(self) -> datetime:
        """When it was written."""
        return datetime.fromisoformat(self.at)

    def text(self) -> str:
        """As it is stored: JSON, one way for one content.

        What is empty by default is left out, so that entries stay whole when a field is added.
        """
        empty = {entry.name for entry in fields(self) if getattr(self, entry.name) == entry.default}
        kept = {name: value for name, value in asdict(self).items() if name not in empty}
        return json.dumps(kept, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that was changed by hand."""

    number: int
    """Of the entry."""
    said: str


@dataclass(frozen=True, kw_only=True)
class Book:
    """The ledger as it was read at one moment."""

    entries: tuple[tuple[int, Entry], ...] = ()
    """Those that count, in order, with their numbers."""
    faults: tuple[Fault, ...] = field(default=())

    @property
    def digest(self) -> str:
        """Of the last entry."""
        return self.entries[-1][1].digest if self.entries else BEGINNING

    @property
    def champion(self) -> int | None:
        """The champion's number."""
        return self.entries[-1][1].after if self.entries else None

    @property
    def crowned(self) -> Entry | None:
        """The entry that made the champion what it is; None where there never was one."""
        changes = (e for _, e in reversed(self.entries) if e.before != e.after)
        return next(changes, None)

    @property
    def waiting(self) -> int | None:
        """The version that waits for a person: a newer one, or a new champion, ends its wait."""
        for _, entry in reversed(self.entries):
            if entry.kind == "wait":
                return entry.version
            if entry.kind in {"decline", "mend"} or entry.before != entry.after:
                return None
        return None

    def about(self, version: int) -> list[Entry]:
        """The entries about a version."""
        return [entry for _, entry in self.entries if entry.version == version]

    def end(self, version: int) -> tuple[int, Entry] | None:
        """The entry that ended the version's wait or reign, with its number; None while it lasts.

        Before it had either, there is nothing to end.
        """
        found, had = None, False
        for number, entry in self.entries:
            if (entry.kind, entry.version) == ("wait", version) or entry.after == version:
                found, had = None, True
            elif had and found is None and _ends(entry, version):
                found = (number, entry)
        return found

    def decided(self, key: str, version: int) -> Entry | None:
        """The entry of a decision about a version, by what the decision depends on."""
        found = (entry for _, entry in self.entries if (entry.key, entry.version) == (key, version))
        return next(found, None)

    def champions(self) -> list[int]:
        """The versions that have been champion, in order; one that came back stands again."""
        changes = [entry.after for _, entry in self.entries if entry.before != entry.after]
        return [number for number in changes if number is not None]

    def live(self, moment: datetime) -> int | None:
        """The version that was champion at the moment; None before the first."""
        then = [entry.after for _, entry in self.entries if entry.moment <= moment]
        return then[-1] if then else None

    def judged_on(self, holdout: str) -> list[Entry]:
        """The decisions that these holdout rows have made."""
        return [entry for _, entry in self.entries if entry.holdout == holdout]

    def broken(self, marks: Marks) -> list[Fault]:
        """What was changed by hand since the ledger was last mended; see `all_faults`."""
        mended = max((n for n, entry in self.entries if entry.kind == "mend"), default=0)
        return [*(f for f in self.faults if f.number > mended), *self._unfit(marks)]

    def all_faults(self, marks: Marks) -> list[Fault]:
        """Entries that were changed or taken away.

        Args:
            marks: tags of each version; the digests of entries among them show a change of the
                very last one.
        """
        return [*self.faults, *self._unfit(marks)]

    def stale(self, marks: Marks) -> list[tuple[int, int, str]]:
        """Marks of no entry that there is: version, number of the entry, its digest."""
        known = {number: entry.digest for number, entry in self.entries}
        found = [
            (version, int(tag.removeprefix(MARK)), digest)
            for version, tags in marks.items()
            for tag, digest in tags.items()
            if tag.startswith(MARK)
        ]
        return [each for each in found if known.get(each[1]) != each[2]]

    def _unfit(self, marks: Marks) -> list[Fault]:
        said = {fault.number for fault in self.faults}
        return [
            Fault(
                number=number,
                said=f"entry {number}, about version {version}, was changed or is gone",
            )
            for version, number, _ in self.stale(marks)
            if number not in said
        ]

    def entry(
        self,
        kind: Kind,
        *,
        who: str,
        why: str,
        version: int | None,
        after: int | None,
        key: str = "",
        evidence: str = "",
        policy: str = "",
        holdout: str = "",
    ) -> Entry:
        """An entry that may follow the last one, as of now."""
        now = datetime.now(UTC)
        if self.entries:
            now = max(now, self.entries[-1][1].moment)  # clocks of machines differ
        return Entry(
            kind=kind,
            at=now.isoformat(timespec="milliseconds"),
            who=who,
            why=why,
            version=version,
            before=self.champion,
            after=after,
            key=key,
            evidence=evidence,
            policy=policy,
            holdout=holdout,
            previous=self.digest,
        )


class Texts(Protocol):
    """Texts under numbers."""

    def texts(self) -> Iterable[tuple[int, str]]:
        """Every number with its text, in order."""


class Store(Texts, Protocol):
    """Gives each text a number, once and in order, from 1 without gaps."""

    def add(self, entry: Entry) -> None:
        """Store the entry under the next number, for good."""


def parse(text: str) -> Entry | None:
    """The entry of a stored text; None when it is none."""
    try:
        entry = Entry(**json.loads(text))
        known = entry.kind in KINDS and entry.moment.tzinfo is not None
        return entry if known and entry.text() == text else None
    except (ValueError, AttributeError, TypeError):
        return None


def read(store: Texts) -> Book:
    """The ledger as it stands."""
    texts = dict(store.texts())
    parsed = {number: parse(text) for number, text in texts.items()}
    return Book(entries=tuple(_counted(parsed)), faults=tuple(_faults(parsed)))


def append(store: Store, make: Callable[[Book], Entry | None]) -> Book:
    """Add the entry that `make` gives for where the ledger stands; returns where it stands then.

    When somebody else is first, `make` is asked again with the new state; None ends the attempt.

    Raises:
        RegistryError: the race was lost a hundred times.
    """
    for _ in range(ATTEMPTS):
        book = read(store)
        entry = make(book)
        if entry is None:
            return book
        if (entry.previous, entry.before) != (book.digest, book.champion):
            raise ValueError("an entry must name the state that it was made for")
        store.add(entry)
        book = read(store)
        if any(entry == counted for _, counted in book.entries):
            return book
    raise RegistryError(
        "the ledger cannot be written: others were always first",
        got=f"{ATTEMPTS} lost races",
        do="run this again when fewer decisions are made at once",
    )


def _counted(parsed: Mapping[int, Entry | None]) -> Iterator[tuple[int, Entry]]:
    digest, champion = BEGINNING, None
    for number, entry in parsed.items():
        if entry is not None and (entry.previous, entry.before) == (digest, champion):
            digest, champion = entry.digest, entry.after
            yield number, entry


def _faults(parsed: Mapping[int, Entry | None]) -> Iterator[Fault]:
    known = {BEGINNING} | {entry.digest for entry in parsed.values() if entry is not None}
    for number in range(1, max(parsed, default=0) + 1):
        entry = parsed.get(number)
        if number not in parsed:
            yield Fault(number=number, said=f"entry {number} is gone")
        elif entry is None:
            yield Fault(number=number, said=f"entry {number} was changed")
        elif entry.previous not in known:
            said = f"entry {number} follows one that is gone or was changed"
            yield Fault(number=number, said=said)


def _ends(entry: Entry, version: int) -> bool:
    """Whether an entry that does not speak for the version ends its wait or reign."""
    if entry.kind in {"decline", "wait"}:
        return entry.kind == "wait" or entry.version == version
    return entry.before != entry.after or entry.kind == "mend"
