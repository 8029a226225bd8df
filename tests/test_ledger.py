"""The ledger: one order for all writers, nothing lost in a race, every change by hand found."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit.core.errors import RegistryError
from refit.registry import ledger as ledgers
from refit.registry.entry import ENTRY_TAG, START, Entry, parse_entry
from refit.registry.ledger import Ledger, append_entry, read_ledger

NOON = datetime(2013, 11, 15, 12, tzinfo=UTC)


class Memory:
    """A store in memory: texts under numbers that are given once."""

    def __init__(self) -> None:
        self.stored: dict[int, str] = {}
        self._lock = threading.Lock()

    def texts(self) -> Iterable[tuple[int, str]]:
        return sorted(self.stored.items())

    def add(self, entry: Entry, _signature: str = "") -> None:
        with self._lock:
            self.stored[max(self.stored, default=0) + 1] = entry.text()


def promote(version: int, ledger: Ledger, **changes: object) -> Entry:
    entry = ledger.entry("promote", who="ann", why="better", version=version, after=version)
    return replace(entry, **changes)  # type: ignore[arg-type]


def filled(count: int) -> Memory:
    """One promotion a day, of versions 1, 2, 3 ..., the first on the day after NOON."""
    store = Memory()
    for number in range(1, count + 1):
        at = (NOON + timedelta(days=number)).isoformat(timespec="milliseconds")
        store.add(promote(number, read_ledger(store), at=at))
    return store


def entry_tags(store: Memory) -> dict[int, dict[str, str]]:
    """The tags that the versions have by the ledger."""
    return {e.version or 0: {f"{ENTRY_TAG}{n}": e.digest} for n, e in read_ledger(store).entries}


def damage(store: Memory, tags: dict[int, dict[str, str]]) -> list[str]:
    return [each.message for each in read_ledger(store).all_damage(tags)]


def test_entries_are_chained_in_order() -> None:
    """Each entry names the digest and the champion of the previous one."""
    ledger = read_ledger(filled(3))
    entries = [entry for _, entry in ledger.entries]
    assert [entry.before for entry in entries] == [None, 1, 2]
    digests = [START, *(entry.digest for entry in entries)]
    assert [entry.previous for entry in entries] == digests[:3]
    assert (ledger.digest, ledger.champion) == (digests[3], 3)


def test_of_two_simultaneous_entries_the_second_does_not_count() -> None:
    """Both name the same previous entry; the lower number wins, and the loser decides again."""
    store = filled(1)
    ledger = read_ledger(store)
    first, second = promote(2, ledger), promote(3, ledger)
    store.add(first)
    store.add(second)
    assert [entry for _, entry in read_ledger(store).entries][-1] == first
    asked: list[int | None] = []

    def make(ledger: Ledger) -> Entry:
        asked.append(ledger.champion)
        if len(asked) == 1:
            store.add(promote(4, ledger))  # another writer is first
        return promote(5, ledger)

    assert append_entry(store, make).champion == 5
    assert asked == [2, 4]
    assert damage(store, {}) == []


def test_many_simultaneous_writers_lose_nothing() -> None:
    """Twenty threads append one entry each; each counts once, in one chain."""
    store = Memory()
    threads = [
        threading.Thread(target=append_entry, args=(store, lambda ledger, n=n: promote(n, ledger)))
        for n in range(1, 21)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = read_ledger(store)
    assert sorted(entry.version or 0 for _, entry in ledger.entries) == list(range(1, 21))
    assert damage(store, entry_tags(store)) == []


def test_a_writer_can_give_up() -> None:
    """A decision made against another champion is not written."""
    store = filled(2)
    assert append_entry(store, lambda _: None).champion == 2
    assert len(store.stored) == 2
    with pytest.raises(ValueError, match="the state that it was made for"):
        append_entry(store, lambda ledger: promote(3, ledger, before=1))


def test_endless_lost_races_end_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that never wins stops with an error instead of looping forever."""
    monkeypatch.setattr(ledgers, "ATTEMPTS", 3)
    store = filled(1)

    def make(ledger: Ledger) -> Entry:
        store.add(promote(9, ledger))
        return promote(5, ledger)

    with pytest.raises(RegistryError, match="3 lost races"):
        append_entry(store, make)


def test_which_version_was_live_when() -> None:
    """Before the first entry none was; at the moment of an entry its version is."""
    ledger = read_ledger(filled(3))
    assert ledger.live(NOON) is None
    assert ledger.live(NOON + timedelta(days=1)) == 1
    assert ledger.live(NOON + timedelta(days=2, hours=23)) == 2
    assert ledger.live(NOON + timedelta(days=400)) == 3


def test_time_never_runs_backward() -> None:
    """A writer whose clock is late dates its entry as the previous one, so that `live` is right."""
    store = Memory()
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="milliseconds")
    store.add(promote(1, read_ledger(store), at=late))
    append_entry(store, lambda ledger: promote(2, ledger))
    assert [entry.at for _, entry in read_ledger(store).entries] == [late, late]


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
    """Any change of a stored text breaks the chain, or does not match the tag on its version."""
    store = filled(3)
    tags = entry_tags(store)
    assert damage(store, tags) == []
    text = change(store.stored.pop(number))
    if text is not None:
        store.stored[number] = text
    assert expected in damage(store, tags)


def test_a_repaired_ledger_continues() -> None:
    """After a repair the old damage is still listed, but no longer stops anything."""
    store = filled(3)
    tags = entry_tags(store)
    store.stored[2] = "gone"
    assert [each.number for each in read_ledger(store).unrepaired(tags)] == [2, 3]
    for version, number, _ in read_ledger(store).stale_tags(tags):
        del tags[version][f"{ENTRY_TAG}{number}"]
    append_entry(
        store, lambda ledger: ledger.entry("repair", who="ann", why="lost", version=3, after=3)
    )
    ledger = read_ledger(store)
    assert ledger.champion == 3
    assert ledger.unrepaired(tags) == []
    assert [each.number for each in ledger.all_damage(tags)] == [2, 3]


def moves(*steps: tuple[str, int | None, int | None]) -> Ledger:
    """A ledger of entries of kind, version, champion after; `policy reject` has a key."""
    store = Memory()
    for name, version, after in steps:
        kind, key = name.removeprefix("policy "), "k" if name.startswith("policy ") else ""
        store.add(
            read_ledger(store).entry(kind, who="a", why="", version=version, after=after, key=key)  # type: ignore[arg-type]
        )
    return read_ledger(store)


@pytest.mark.parametrize(
    ("steps", "waiting"),
    [
        ([], None),
        ([("promote", 1, 1), ("wait", 2, 1)], 2),
        ([("wait", 1, None), ("policy reject", 2, None)], 1),
        ([("wait", 1, None), ("policy reject", 1, None)], 1),
        ([("wait", 1, None), ("wait", 2, None)], 2),
        ([("wait", 1, None), ("approve", 1, 1)], None),
        ([("wait", 1, None), ("reject", 1, None)], None),
        ([("promote", 1, 1), ("wait", 2, 1), ("rollback", None, None)], None),
        ([("promote", 1, 1), ("wait", 2, 1), ("repair", 1, 1)], None),
    ],
)
def test_which_version_waits(
    steps: list[tuple[str, int | None, int | None]], waiting: int | None
) -> None:
    """A version waits until a person answers, a newer one waits, or the champion changes."""
    assert moves(*steps).waiting == waiting


def test_what_ended_a_wait_or_a_time_as_champion() -> None:
    """The entry that ended it is named; a version that still has it, or never had, has none."""
    ledger = moves(
        ("promote", 1, 1), ("promote", 2, 2), ("rollback", 1, 1), ("wait", 3, 1), ("reject", 3, 1)
    )
    ends = {version: ledger.end(version) for version in (1, 2, 3, 9)}
    assert {version: end and end[0] for version, end in ends.items()} == {
        1: None,
        2: 3,
        3: 5,
        9: None,
    }
    assert ledger.champions() == [1, 2, 1]
    assert ledger.champion_entry is not None
    assert ledger.champion_entry.kind == "rollback"


words = st.text(st.characters(codec="utf-8"))


@given(words, words, st.integers(1, 10**6), st.none() | st.integers(1, 10**6))
def test_stored_texts_are_read_as_they_were(
    who: str, why: str, version: int, after: int | None
) -> None:
    """Texts in any script survive storing, and the same content has the same digest."""
    entry = promote(version, Ledger(), who=who, why=why, after=after)
    again = parse_entry(entry.text())
    assert again == entry
    assert again.digest == entry.digest


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """A text that is not an entry is read as None."""
    assert parse_entry(text) is None
