"""The ledger: the chain of entries that says which version is champion, and why.

Each entry names the digest of the previous entry and the champion at that time. When several
writers append at the same time, the registry gives each entry its own number. The entry with the
lowest number counts. The others name a previous entry that is no longer the last one, so every
reader skips them, and their writers decide again. That is a compare-and-set for any number of
processes and machines, and it needs only numbers that are given once. Aliases are copies of what
the ledger says. They can be set from it again at any time.

A change made by hand shows, because the digests no longer match. Anyone who may write to the
registry can append an entry, or write all of them again: refit.registry.anchor shows that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from refit.core.errors import RegistryError
from refit.registry.entry import START, Entry, Kind, entry_number, parse_entry

EntryTags = Mapping[int, Mapping[str, str]]
"""For each version by number, its entry tags: ENTRY_TAG + number of an entry -> its digest."""
ATTEMPTS = 100
"""Lost races after which a writer gives up. Some writer wins each race."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """An entry that was changed or deleted by hand."""

    number: int
    """Of the entry."""
    message: str


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger as it was read at one time."""

    entries: tuple[tuple[int, Entry], ...] = ()
    """The entries that count, in order, with their numbers."""
    damage: tuple[Damage, ...] = ()
    """Damage that the entries alone show."""

    @property
    def digest(self) -> str:
        """Of the last entry."""
        return self.entries[-1][1].digest if self.entries else START

    @property
    def champion(self) -> int | None:
        """The champion's number."""
        return self.entries[-1][1].after if self.entries else None

    @property
    def champion_entry(self) -> Entry | None:
        """The entry that changed the champion last; None if none did."""
        changes = (entry for _, entry in reversed(self.entries) if entry.before != entry.after)
        return next(changes, None)

    @property
    def waiting(self) -> int | None:
        """The version that waits for a person; a newer one replaces it."""
        waiting = None
        for _, entry in self.entries:
            if entry.kind == "wait":
                waiting = entry.version
            elif waiting is not None and _ends(entry, waiting):
                waiting = None
        return waiting

    def about(self, version: int) -> list[Entry]:
        """The entries about a version."""
        return [entry for _, entry in self.entries if entry.version == version]

    def end(self, version: int) -> tuple[int, Entry] | None:
        """The entry, with its number, that ended the version's wait or its time as champion.

        None while the version waits or is champion, and if it never did or was.
        """
        end, began = None, False
        for number, entry in self.entries:
            if (entry.kind, entry.version) == ("wait", version) or entry.after == version:
                end, began = None, True
            elif began and end is None and _ends(entry, version):
                end = (number, entry)
        return end

    def decided(self, key: str, version: int) -> Entry | None:
        """The entry of the policy's decision with this key about a version."""
        matches = (
            entry for _, entry in self.entries if (entry.key, entry.version) == (key, version)
        )
        return next(matches, None)

    def champions(self) -> list[int]:
        """The versions that have been champion, in order; one that came back is listed again."""
        changes = [entry.after for _, entry in self.entries if entry.before != entry.after]
        return [number for number in changes if number is not None]

    def live(self, moment: datetime) -> int | None:
        """The version that was champion at the moment; None before the first."""
        champions = [entry.after for _, entry in self.entries if entry.moment <= moment]
        return champions[-1] if champions else None

    def judged_on(self, holdout: str) -> list[Entry]:
        """The decisions that were made on these holdout rows."""
        return [entry for _, entry in self.entries if entry.holdout == holdout]

    def unrepaired(self, tags: EntryTags) -> list[Damage]:
        """The damage since the last repair; see `all_damage`."""
        repairs = (number for number, entry in self.entries if entry.kind == "repair")
        last = max(repairs, default=0)
        return [*(each for each in self.damage if each.number > last), *self._damage_by_tags(tags)]

    def all_damage(self, tags: EntryTags) -> list[Damage]:
        """Entries that were changed or deleted.

        Args:
            tags: of the versions. They show a change of the very last entry, which no later entry
                names.
        """
        return [*self.damage, *self._damage_by_tags(tags)]

    def stale_tags(self, tags: EntryTags) -> list[tuple[int, int, str]]:
        """Entry tags without their entry: version, number of the entry, its digest."""
        digests = {number: entry.digest for number, entry in self.entries}
        tagged = [
            (version, number, digest)
            for version, entry_tags in tags.items()
            for tag, digest in entry_tags.items()
            if (number := entry_number(tag)) is not None
        ]
        return [each for each in tagged if digests.get(each[1]) != each[2]]

    def _damage_by_tags(self, tags: EntryTags) -> list[Damage]:
        listed = {each.number for each in self.damage}
        return [
            Damage(
                number=number,
                message=f"entry {number}, about version {version}, was changed or is gone",
            )
            for version, number, _ in self.stale_tags(tags)
            if number not in listed
        ]

    def entry(
        self,
        kind: Kind,
        *,
        who: str,
        why: str,
        version: int | None,
        after: int | None,
        **digests: str,
    ) -> Entry:
        """An entry that may follow the last one, dated now.

        Args:
            kind: of the entry.
            who: decided.
            why: the reason.
            version: that was decided about.
            after: the champion after it.
            digests: the other fields of an entry.
        """
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
            previous=self.digest,
            **digests,
        )


class Texts(Protocol):
    """Stored texts of entries."""

    def texts(self) -> Iterable[tuple[int, str]]:
        """Every number with its text, in order."""


class Store(Texts, Protocol):
    """Gives each text a number, once and in order, from 1 without gaps."""

    def add(self, entry: Entry, signature: str, /) -> None:
        """Store the entry, and its signature if it is not empty, under the next number."""


def read_ledger(store: Texts) -> Ledger:
    """The ledger as it is now."""
    entries = {number: parse_entry(text) for number, text in store.texts()}
    return Ledger(entries=tuple(_counted(entries)), damage=tuple(_damage(entries)))


def unsigned(ledger: Ledger, entry: Entry) -> str:  # noqa: ARG001 - as others sign
    """No signature."""
    return ""


def append_entry(
    store: Store,
    make: Callable[[Ledger], Entry | None],
    sign: Callable[[Ledger, Entry], str] = unsigned,
) -> Ledger:
    """Append the entry that `make` returns for the ledger as it is now; returns the new ledger.

    When another writer is first, `make` is called again with the new ledger. It returns None to
    append nothing.

    Args:
        store: of the ledger.
        make: the entry.
        sign: gives the signature of that entry, to be stored with it; empty for none.

    Raises:
        RegistryError: 100 races in a row were lost.
    """
    for _ in range(ATTEMPTS):
        ledger = read_ledger(store)
        entry = make(ledger)
        if entry is None:
            return ledger
        if (entry.previous, entry.before) != (ledger.digest, ledger.champion):
            raise ValueError("an entry must name the state that it was made for")
        store.add(entry, sign(ledger, entry))
        ledger = read_ledger(store)
        if any(entry == counted for _, counted in ledger.entries):
            return ledger
    raise RegistryError(
        "the ledger cannot be written: other writers were always first",
        got=f"{ATTEMPTS} lost races",
        do="run this again when fewer decisions are made at the same time",
    )


def _counted(entries: Mapping[int, Entry | None]) -> Iterator[tuple[int, Entry]]:
    """The entries that name the state at their number."""
    digest, champion = START, None
    for number, entry in entries.items():
        if entry is not None and (entry.previous, entry.before) == (digest, champion):
            digest, champion = entry.digest, entry.after
            yield number, entry


def _damage(entries: Mapping[int, Entry | None]) -> Iterator[Damage]:
    digests = {START} | {entry.digest for entry in entries.values() if entry is not None}
    for number in range(1, max(entries, default=0) + 1):
        entry = entries.get(number)
        if number not in entries:
            yield Damage(number=number, message=f"entry {number} is gone")
        elif entry is None:
            yield Damage(number=number, message=f"entry {number} was changed")
        elif entry.previous not in digests:
            message = f"entry {number} follows one that is gone or was changed"
            yield Damage(number=number, message=message)


def _ends(entry: Entry, version: int) -> bool:
    """Whether an entry that does not favour the version ends its wait or time as champion."""
    if entry.kind in {"wait", "repair"} or entry.before != entry.after:
        return True
    return entry.kind == "reject" and entry.by_person and entry.version == version
