"""The ledger: one order for everybody, nothing lost in a race, nothing changed unseen."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit.core.errors import RegistryError
from refit.registry import ledger
from refit.registry.ledger import MARK, Book, Entry

NOON = datetime(2013, 11, 15, 12, tzinfo=UTC)


class Memory:
    """Texts under numbers that are given once."""

    def __init__(self) -> None:
        self.kept: dict[int, str] = {}
        self._lock = threading.Lock()

    def texts(self) -> Iterable[tuple[int, str]]:
        return sorted(self.kept.items())

    def add(self, entry: Entry) -> None:
        with self._lock:
            self.kept[max(self.kept, default=0) + 1] = entry.text()


def crown(version: int, book: Book, **more: object) -> Entry:
    found = book.entry("promote", who="ann", why="better", version=version, after=version)
    return replace(found, **more)  # type: ignore[arg-type]


def filled(count: int) -> Memory:
    """One promotion a day, of versions 1, 2, 3 ..., the first on the day after NOON."""
    store = Memory()
    for number in range(1, count + 1):
        at = (NOON + timedelta(days=number)).isoformat(timespec="milliseconds")
        store.add(crown(number, ledger.read(store), at=at))
    return store


def marks(store: Memory) -> dict[int, dict[str, str]]:
    """What is noted on the versions."""
    return {e.version or 0: {f"{MARK}{n}": e.digest} for n, e in ledger.read(store).entries}


def said(store: Memory, noted: dict[int, dict[str, str]]) -> list[str]:
    return [fault.said for fault in ledger.read(store).all_faults(noted)]


def test_entries_are_chained_in_order() -> None:
    """Each names the digest and the champion of the one before."""
    book = ledger.read(filled(3))
    entries = [entry for _, entry in book.entries]
    assert [entry.before for entry in entries] == [None, 1, 2]
    digests = [ledger.BEGINNING, *(entry.digest for entry in entries)]
    assert [entry.previous for entry in entries] == digests[:3]
    assert (book.digest, book.champion) == (digests[3], 3)


def test_the_second_of_two_who_wrote_at_once_does_not_count() -> None:
    """Both name the same predecessor; the lower number wins, and the loser decides again."""
    store = filled(1)
    now = ledger.read(store)
    first, second = crown(2, now), crown(3, now)
    store.add(first)
    store.add(second)
    assert [entry for _, entry in ledger.read(store).entries][-1] == first
    asked: list[int | None] = []

    def make(book: Book) -> Entry:
        asked.append(book.champion)
        if len(asked) == 1:
            store.add(crown(4, book))  # somebody else is first
        return crown(5, book)

    assert ledger.append(store, make).champion == 5
    assert asked == [2, 4]
    assert said(store, {}) == []


def test_many_writers_at_once_lose_nothing() -> None:
    """Twenty threads append one entry each; each counts once, in one chain."""
    store = Memory()
    threads = [
        threading.Thread(target=ledger.append, args=(store, lambda now, n=n: crown(n, now)))
        for n in range(1, 21)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book = ledger.read(store)
    assert sorted(entry.version or 0 for _, entry in book.entries) == list(range(1, 21))
    assert said(store, marks(store)) == []


def test_who_no_longer_wants_to_writes_nothing() -> None:
    """A decision made against another champion is given up, not forced."""
    store = filled(2)
    assert ledger.append(store, lambda _: None).champion == 2
    assert len(store.kept) == 2
    with pytest.raises(ValueError, match="the state that it was made for"):
        ledger.append(store, lambda now: crown(3, now, before=1))


def test_a_store_that_never_lets_us_win_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless races end in an error, not in an endless loop."""
    monkeypatch.setattr(ledger, "ATTEMPTS", 3)
    store = filled(1)

    def make(book: Book) -> Entry:
        store.add(crown(9, book))
        return crown(5, book)

    with pytest.raises(RegistryError, match="3 lost races"):
        ledger.append(store, make)


def test_which_version_was_live_when() -> None:
    """Before the first entry none was; at the moment of an entry its version is."""
    book = ledger.read(filled(3))
    assert book.live(NOON) is None
    assert book.live(NOON + timedelta(days=1)) == 1
    assert book.live(NOON + timedelta(days=2, hours=23)) == 2
    assert book.live(NOON + timedelta(days=400)) == 3


def test_time_never_runs_backward() -> None:
    """A writer whose clock is late dates its entry as the one before, so that `live` holds."""
    store = Memory()
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="milliseconds")
    store.add(crown(1, ledger.read(store), at=late))
    ledger.append(store, lambda book: crown(2, book))
    assert [entry.at for _, entry in ledger.read(store).entries] == [late, late]


@pytest.mark.parametrize(
    ("number", "change", "expected"),
    [
        (2, lambda t: t.replace("ann", "eve"), "entry 3 follows one that is gone or was changed"),
        (2, lambda t: t[:-1], "entry 2 was changed"),
        (2, lambda t: t.replace(",", ", "), "entry 2 was changed"),
        (2, lambda t: t.replace('"kind"', '"sort"'), "entry 2 was changed"),
        (2, lambda _: None, "entry 2 is gone"),
        (3, lambda t: t.replace("ann", "eve"), "entry 3, about version 3, was changed or is gone"),
        (3, lambda _: None, "entry 3, about version 3, was changed or is gone"),
    ],
    ids=["middle", "cut", "spaces", "key", "deleted", "last", "last deleted"],
)
def test_a_changed_or_deleted_entry_is_found(
    number: int, change: Callable[[str], str | None], expected: str
) -> None:
    """Whatever is done to a stored text breaks the chain, or a version's mark."""
    store = filled(3)
    noted = marks(store)
    assert said(store, noted) == []
    text = change(store.kept.pop(number))
    if text is not None:
        store.kept[number] = text
    assert expected in said(store, noted)


def test_a_mended_ledger_goes_on() -> None:
    """After a new start old damage is still listed, but no longer stops anything."""
    store = filled(3)
    noted = marks(store)
    store.kept[2] = "gone"
    assert [fault.number for fault in ledger.read(store).broken(noted)] == [2, 3]
    for version, number, _ in ledger.read(store).stale(noted):
        del noted[version][f"{MARK}{number}"]
    ledger.append(store, lambda book: book.entry("mend", who="ann", why="lost", version=3, after=3))
    book = ledger.read(store)
    assert book.champion == 3
    assert book.broken(noted) == []
    assert [fault.number for fault in book.all_faults(noted)] == [2, 3]


def moves(*steps: tuple[str, int | None, int | None]) -> Book:
    """A ledger of entries of kind, version, champion after."""
    store = Memory()
    for kind, version, after in steps:
        store.add(
            ledger.read(store).entry(kind, who="a", why="", version=version, after=after)  # type: ignore[arg-type]
        )
    return ledger.read(store)


@pytest.mark.parametrize(
    ("steps", "waiting"),
    [
        ([], None),
        ([("promote", 1, 1), ("wait", 2, 1)], 2),
        ([("wait", 1, None), ("reject", 2, None)], 1),
        ([("wait", 1, None), ("wait", 2, None)], 2),
        ([("wait", 1, None), ("approve", 1, 1)], None),
        ([("wait", 1, None), ("decline", 1, None)], None),
        ([("promote", 1, 1), ("wait", 2, 1), ("rollback", None, None)], None),
    ],
)
def test_who_waits(steps: list[tuple[str, int | None, int | None]], waiting: int | None) -> None:
    """A candidate waits until it is answered, a newer one waits, or the champion changes."""
    assert moves(*steps).waiting == waiting


def test_what_ended_a_reign_or_a_wait() -> None:
    """The entry that took its place is named; one that still stands, or never did, has none."""
    book = moves(
        ("promote", 1, 1), ("promote", 2, 2), ("rollback", 1, 1), ("wait", 3, 1), ("decline", 3, 1)
    )
    ends = {version: book.end(version) for version in (1, 2, 3, 9)}
    assert {version: end and end[0] for version, end in ends.items()} == {
        1: None,
        2: 3,
        3: 5,
        9: None,
    }
    assert book.champions() == [1, 2, 1]
    assert book.crowned is not None
    assert book.crowned.kind == "rollback"


words = st.text(st.characters(codec="utf-8"))


@given(words, words, st.integers(1, 10**6), st.none() | st.integers(1, 10**6))
def test_any_words_come_back_as_they_were(
    who: str, why: str, version: int, after: int | None
) -> None:
    """Texts in any script survive storing, and one content has one digest."""
    entry = crown(version, Book(), who=who, why=why, after=after)
    again = ledger.parse(entry.text())
    assert again == entry
    assert again.digest == entry.digest


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """What is no entry is read as none."""
    assert ledger.parse(text) is None
