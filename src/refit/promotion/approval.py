"""What a person decides: approve, decline, roll back. Each checks the version first, then moves.

A version is checked as the registry has it at that moment: its digest, that it loads, and that it
still predicts what it predicted for its example rows when it was registered.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from refit.core import files
from refit.core.errors import RefitError, RegistryError
from refit.evaluation.predictions import TOLERANCE
from refit.registry import ledger, reconcile
from refit.registry.client import EXAMPLES, SAMPLE, Registry, Version, aliases
from refit.registry.ledger import Book, Entry, Kind
from refit.serving import input_example
from refit.workspace import git


@dataclass(frozen=True, kw_only=True)
class Move:
    """What was done."""

    sentence: str
    checked: str
    """What was checked before; '' where nothing becomes champion."""


def approve(root: Path, number: int, *, why: str, who: str = "") -> Move:
    """Make the version that waits champion.

    Args:
        root: of the project.
        number: of the version.
        why: a reason, may be empty.
        who: decides; the Git identity or login name where it is empty.

    Raises:
        RegistryError: it does not wait, or does not pass the check.
    """
    registry = Registry.of(root)
    with registry.locked():
        _require_waiting(reconcile.sound(registry), number)
        checked = check(registry, registry.version(number))

        def make(book: Book) -> Entry:
            _require_waiting(book, number)
            return _entry(book, "approve", root, who, why, version=number, after=number)

        reconcile.enter(registry, make)
    return Move(sentence=f"Version {number} is champion now.", checked=checked)


def decline(root: Path, number: int, *, why: str, who: str = "") -> Move:
    """Let the version that waits wait no longer; the champion stays.

    Raises:
        RegistryError: it does not wait.
    """
    registry = Registry.of(root)
    with registry.locked():
        reconcile.sound(registry)

        def make(book: Book) -> Entry:
            _require_waiting(book, number)
            return _entry(book, "decline", root, who, why, version=number, after=book.champion)

        book = reconcile.enter(registry, make)
    stays = f"version {book.champion} stays champion" if book.champion else "there is no champion"
    return Move(sentence=f"Version {number} is declined; {stays}.", checked="")


def rollback(root: Path, to: int | None, *, why: str, who: str = "") -> Move:
    """Make an earlier version champion again.

    On a ledger that was changed by hand, it is a new start: the entry says what was found.

    Args:
        root: of the project.
        to: the version; 0 leaves no champion, None takes the champion before this one.
        why: the reason.
        who: decides; the Git identity or login name where it is empty.

    Raises:
        RegistryError: there is no such version, it was never champion, or does not pass the check.
    """
    registry = Registry.of(root)
    with registry.locked():
        tags = registry.marks()
        broken = "; ".join(fault.said for fault in registry.book().broken(tags))
        target = _target(registry.book(), to, any_version=bool(broken))
        checked = check(registry, registry.version(target)) if target else ""

        def make(book: Book) -> Entry:
            if broken:
                said = f"{why} (after {broken})"
                return _entry(book, "mend", root, who, said, version=target, after=target)
            if book.champion == target:
                raise _already(target)
            return _entry(book, "rollback", root, who, why, version=target, after=target)

        (reconcile.mend if broken else reconcile.enter)(registry, make)
    if target is None:
        sentence = "There is no champion now: the next candidate must beat the linear baseline."
        return Move(sentence=sentence, checked=checked)
    return Move(sentence=f"Version {target} is champion again.", checked=checked)


def answered(root: Path, number: int) -> str:
    """Why a version that waited does so no longer; '' while it waits."""
    book = history(root)
    if book.waiting == number:
        return ""
    return f"version {number} does not wait: {_ended(book, number)}"


def check(registry: Registry, version: Version) -> str:
    """What was checked of the version, in words.

    Raises:
        RegistryError: its bundle is not what was registered, does not load, or predicts otherwise.
    """
    with tempfile.TemporaryDirectory() as aside:
        folder = registry.fetch(version, Path(aside))
        noted = version.tags.get(EXAMPLES)
        if noted is None:
            _load(folder, version)
            return "digest verified, loads; registered before example rows were kept"
        examples = folder / SAMPLE
        if not examples.is_file() or files.digest(examples) != noted:
            raise _refused(version, "its example rows are not those that were registered")
        difference = _difference(folder, examples, version)
    if not difference <= TOLERANCE:
        raise _refused(version, f"its predictions differ from the stored ones by {difference:.2g}")
    return "digest verified, loads, predicts its example rows as when it was registered"


def history(root: Path) -> Book:
    """The ledger as it stands."""
    return Registry.of(root).book()


def faults(root: Path) -> list[str]:
    """What `refit history --verify` finds: changed or missing entries, aliases, lost evidence."""
    registry = Registry.of(root)
    tags = registry.marks()
    book = registry.book()
    found = [fault.said for fault in book.broken(tags)]  # what was mended, its entry says
    for alias, wanted in aliases(book).items():
        named = registry.aliased(alias)
        if named != wanted:
            found.append(
                f"the alias {alias} names {_version(named)}, the ledger {_version(wanted)}: it was"
                " moved by hand, or a decision was cut short; the next run puts it right"
            )
    found += [
        f"{_version(number)} was champion or waits, but is gone from the registry"
        for number in sorted({*book.champions(), *([book.waiting] if book.waiting else [])})
        if number not in tags
    ]
    return found + _lost_evidence(book, tags)


def live(root: Path, moment: datetime) -> int | None:
    """The version that was champion at the moment."""
    return history(root).live(moment)


def _entry(
    book: Book,
    kind: Kind,
    root: Path,
    who: str,
    why: str,
    *,
    version: int | None,
    after: int | None,
) -> Entry:
    who = who or git.user(root)
    return book.entry(kind, who=who, why=why, version=version, after=after)


def _require_waiting(book: Book, number: int) -> None:
    if book.waiting == number:
        return
    raise RegistryError(
        f"version {number} does not wait for a person",
        got=_ended(book, number),
        expected=f"version {book.waiting}" if book.waiting else "no version: none waits",
        do="`refit history` prints what was decided; `refit rollback --to V` makes an earlier"
        " champion champion again",
    )


def _ended(book: Book, number: int) -> str:
    """What ended the wait of a version."""
    answers = [
        (place, entry)
        for place, entry in book.entries
        if entry.version == number and entry.kind in {"approve", "decline"}
    ]
    end = answers[-1] if answers else book.end(number)
    if end is None:
        return "it never did"
    place, entry = end
    about = "" if entry.version == number else f" of version {entry.version or 'none'}"
    return f"entry {place} of the ledger: {entry.kind}{about} by {entry.who}"


def _target(book: Book, to: int | None, *, any_version: bool) -> int | None:
    """The version to go back to; None for no champion."""
    if to == 0:
        return None
    former = book.champions()
    if to is None:
        first = next((e for _, e in book.entries if e.after == book.champion), None)
        to = first.before if first else None
    if to is None or not (to in former or any_version):
        raise RegistryError(
            "there is no champion to go back to" if to is None else f"version {to} was no champion",
            got=f"champions so far: {', '.join(map(str, dict.fromkeys(former))) or 'none'}",
            do="name one of these with --to, or none (`--to none`) to begin anew",
        )
    return to


def _already(target: int | None) -> RegistryError:
    return RegistryError(
        f"{_version(target)} is champion already" if target else "there is no champion already",
        do="`refit history` prints what was decided",
    )


def _refused(version: Version, what: str) -> RegistryError:
    return RegistryError(
        what,
        where=f"version {version.number}",
        expected="what was registered",
        do="the champion stays; restore the artifact store from a backup, or choose another one",
    )


def _load(folder: Path, version: Version) -> None:
    from refit.serving import bundle

    try:
        _ = bundle.load(folder).session
    except RefitError as error:
        raise _refused(version, f"its bundle does not load: {error}") from error


def _difference(folder: Path, examples: Path, version: Version) -> float:
    try:
        return input_example.difference(folder, examples)
    except RefitError as error:
        raise _refused(version, f"its bundle does not predict: {error}") from error


def _version(number: int | None) -> str:
    return f"version {number}" if number else "no version"


def _lost_evidence(book: Book, tags: Mapping[int, Mapping[str, str]]) -> list[str]:
    """Decisions in the ledger whose evidence does not stand on their version, if that is there."""
    kept = {
        number: {ledger.digest(text) for text in found.values()} for number, found in tags.items()
    }
    return [
        f"the evidence of entry {number} on version {entry.version} was changed or is gone"
        for number, entry in book.entries
        if entry.evidence and entry.version in kept and entry.evidence not in kept[entry.version]
    ]
