"""Keeps the registry to its ledger: nothing is decided on a broken one, aliases follow it.

A decision is first entered in the ledger, then noted on its version, then the aliases are set from
the ledger. Whatever a crash leaves undone after the first of these, the next call here does.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from refit.core.errors import RegistryError
from refit.registry import ledger
from refit.registry.client import CHAMPION, OUTCOME, Registry, aliases
from refit.registry.ledger import MARK, Book, Entry
from refit.workspace import git

LOST = "refit.lost."
"""Tag on a version: the digest of an entry that was gone when the ledger was mended."""
LAG = timedelta(minutes=1)
"""For so long after a change of champion an alias that does not name it is only late."""


class Reader(Protocol):
    """What can be read of a registry, with MLflow or without."""

    def book(self) -> Book:
        """The ledger."""

    def marks(self) -> Mapping[int, Mapping[str, str]]:
        """The tags of each version, at least its marks."""

    def aliased(self, alias: str) -> int | None:
        """The number that an alias names."""


def sound(reader: Reader) -> Book:
    """The ledger, nothing in it changed by hand since it was last mended.

    Raises:
        RegistryError: something was.
    """
    marks = reader.marks()  # before the entries, of which there may be more in the next moment
    book = reader.book()
    broken = book.broken(marks)
    if broken:
        raise RegistryError(
            "the ledger was changed by hand, so nothing is decided on it",
            got="; ".join(fault.said for fault in broken[:5]),
            do="restore the registry's database from a backup (`refit history --verify` looks"
            " again), or go on from what is left: `refit rollback --to V --why ...` names the"
            " champion anew, and the ledger says so",
        )
    return book


def settled(reader: Reader) -> Book | None:
    """The ledger, where versions and aliases are as it says; None where something is to be done.

    Raises:
        RegistryError: the ledger was changed by hand.
    """
    marks = reader.marks()
    book = sound(reader)
    if not book.entries:
        return None
    number, last = book.entries[-1]
    noted = last.version is None or f"{MARK}{number}" in marks.get(last.version, {})
    return book if noted and not _astray(reader, book) else None


def settle(registry: Registry) -> Book:
    """Bring the registry to what the ledger says; a registry of before the ledger is taken over.

    Raises:
        RegistryError: the ledger was changed by hand, or its champion was deleted.
    """
    book = sound(registry)
    if not book.entries:
        book = _adopt(registry)
    if book.champion is not None:
        registry.reigning(book.champion)
    if _moved_by_hand(registry, book):
        book = _put_back(registry)
    if book.entries:
        _note(registry, *book.entries[-1])
    return point(registry)


def enter(registry: Registry, make: Callable[[Book], Entry | None]) -> Book:
    """Append the entry that `make` gives, note it on its version, and set the aliases."""
    made: list[Entry] = []

    def remember(book: Book) -> Entry | None:
        entry = make(book)
        made[:] = [entry] if entry else []
        return entry

    book = ledger.append(registry.ledger, remember)
    for number, entry in book.entries:
        if entry in made:
            _note(registry, number, entry)
    return point(registry) if made else book


def point(registry: Registry) -> Book:
    """Set the aliases from the ledger.

    Who sets one looks again after it: of several at once, the last to set it has then seen the
    latest entry, or sets it once more.

    Raises:
        RegistryError: others kept setting the aliases.
    """
    gone: set[int | None] = set()
    for _ in range(ledger.ATTEMPTS):
        book = registry.book()
        astray = {a: n for a, n in _astray(registry, book).items() if n not in gone}
        if not astray:
            return book
        for alias, number in astray.items():
            try:
                registry.point(alias, number)
            except RegistryError as error:
                if not registry.missing(error):
                    raise
                gone.add(number)  # deleted by hand: an alias cannot name it
    raise RegistryError(
        "the aliases cannot be set: somebody keeps moving them",
        where=f"registered model {registry.name}",
        do="stop what moves them, then run this again",
    )


def mend(registry: Registry, make: Callable[[Book], Entry | None]) -> Book:
    """Begin anew on a ledger that was changed by hand; marks of what is gone are put aside."""
    enter(registry, make)
    tags = registry.marks()
    book = registry.book()
    for version, number, digest in book.stale(tags):
        registry.note(registry.version(version), {f"{LOST}{number}": digest})
        registry.untag(version, f"{MARK}{number}")
    return settle(registry)


def _astray(reader: Reader, book: Book) -> dict[str, int | None]:
    """The aliases that are not what the ledger says, with what it says."""
    wanted = aliases(book)
    return {name: number for name, number in wanted.items() if reader.aliased(name) != number}


def _adopt(registry: Registry) -> Book:
    reigning = registry.aliased(CHAMPION)

    def first(book: Book) -> Entry | None:
        if book.entries or reigning is None:
            return None
        return book.entry(
            "adopt",
            who=git.user(registry.root),
            why="it was champion before there was a ledger",
            version=reigning,
            after=reigning,
        )

    return enter(registry, first)


def _moved_by_hand(registry: Registry, book: Book) -> bool:
    """Whether the alias is neither what the ledger says nor what it said before the last change."""
    crowned = book.crowned
    if crowned is None or datetime.now(UTC) - crowned.moment < LAG:
        return False
    return registry.aliased(CHAMPION) not in {book.champion, crowned.before}


def _put_back(registry: Registry) -> Book:
    def again(book: Book) -> Entry | None:
        found = registry.aliased(CHAMPION)
        if not _moved_by_hand(registry, book):
            return None
        return book.entry(
            "alias",
            who=git.user(registry.root),
            why=f"put back: it named {f'version {found}' if found else 'no version'}",
            version=book.champion,
            after=book.champion,
        )

    return enter(registry, again)


def _note(registry: Registry, number: int, entry: Entry) -> None:
    """Note the entry's digest on its version, where there still is one.

    Before it, what others have recorded of the same decision is taken away, by a crash's
    repetition too: only one of them was entered.
    """
    if entry.version is None:
        return
    tag = f"{MARK}{number}"
    try:
        version = registry.version(entry.version)
        if version.tags.get(tag) == entry.digest:
            return
        if entry.key:
            registry.prune(version, entry.key, entry.evidence)
            registry.note(version, {OUTCOME: entry.kind})
        registry.note(version, {tag: entry.digest})
    except RegistryError as error:
        if not registry.missing(error):
            raise
