"""Compares the ledger with its anchor in Git, and anchors what is new.

What only the database says is believed as far as nothing contradicts it: an entry that is not yet
anchored may have been written on another machine. It is an error where only this clone writes the
registry, and where the policy asks for signatures and it has none.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from refit.core.errors import RefitError, RegistryError, SetupError
from refit.registry import anchor as anchors
from refit.registry.anchor import Anchor, Link
from refit.registry.entry import ANSWERS, Entry
from refit.registry.ledger import ATTEMPTS, Ledger
from refit.registry.reader import LedgerReader

FIX = (
    "restore the registry's database from a backup; or `refit pull`, if a person repaired the"
    " ledger on another machine; or continue with what is left: `refit rollback --to V --why ...`"
    " (or `--to none`) names the champion again, and the ledger records it"
)
PAUSE = 0.05
"""Seconds between two attempts to move the ref, of which Git lets one process at a time."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the ledger stands to its anchor."""

    head: str | None
    """The commit that was anchored last."""
    links: tuple[Link, ...]
    """The ledger's commits."""
    errors: tuple[str, ...]
    """What contradicts the anchor, or the policy."""
    notes: tuple[str, ...]

    @property
    def given_up(self) -> str:
        """The commit of the line that a repair gives up; '' where the ledger continues it."""
        known = {link.commit for link in self.links}
        return self.head if self.head and self.head not in known else ""


def standing(anchor: Anchor, ledger: LedgerReader, *, signed: bool) -> Standing:
    """Compare the ledger with its anchor.

    Args:
        anchor: of the ledger.
        ledger: is read here, after the anchor: an entry is always older than its anchor.
        signed: whether the policy asks for the signatures of persons.
    """
    head = anchor.head()
    links = anchor.line(ledger.read().entries, ledger.signatures())
    if anchor.algorithm is None:
        note = "the ledger has no anchor: the project is in no Git repository"
        return Standing(head=None, links=links, errors=(), notes=(note,) if links else ())
    head = head or anchor.fetched(links)
    numbers = [place for place, link in enumerate(links, 1) if link.commit == head]
    if head is not None and not numbers:
        return Standing(
            head=head, links=links, errors=(_contradiction(anchor, head, links),), notes=()
        )
    new = links[numbers[0] if numbers else 0 :]
    errors, notes = _unknown(anchor, new, first=head is None)
    if signed:
        errors += _unsigned(anchor, links, new)
    return Standing(head=head, links=links, errors=tuple(errors), notes=tuple(notes))


def bad_signatures(anchor: Anchor, links: Sequence[Link]) -> list[str]:
    """The signatures that are not valid, or not by the entry's `who`."""
    entries = {link.number: link.entry for link in links}
    return [
        f"the signature of entry {number}, by {entries[number].who}, is {signature}"
        for number, signature in anchor.signatures(links).items()
        if not signature.is_of(entries[number].who)
    ]


def confirm(anchor: Anchor, ledger: LedgerReader, *, signed: bool) -> None:
    """Anchor what was left, before something is decided on the ledger.

    Raises:
        RegistryError: the ledger is not the one that was anchored, or lacks a signature.
    """
    now = standing(anchor, ledger, signed=signed)
    if now.errors:
        raise RegistryError(
            "the ledger contradicts its anchor in Git, so nothing is decided on it",
            got="; ".join(now.errors),
            do=FIX if now.links else f"{FIX}; or start a new ledger: {_restart(anchor)}",
        )
    extend(anchor, ledger)


def seal(anchor: Anchor, before: Ledger, ledger: LedgerReader, entry: Entry, *, sign: bool) -> str:
    """Write the commit of an entry before the entry is stored; returns its signature.

    After a crash, the commit shows that the entry came from here.

    Raises:
        SetupError: the entry must be signed, and cannot be.
    """
    if anchor.algorithm is None:
        if sign:
            raise SetupError(
                "the entry cannot be signed: the project is in no Git repository",
                where=str(anchor.root),
                do="`git init`, or `promote.approval: person` in params.yaml",
            )
        return ""
    entries = [*before.entries, (0, entry)]
    signatures = ledger.signatures()
    links = anchor.line(entries, signatures)
    try:
        anchor.write(links)
    except RefitError:
        if sign:
            raise
        return ""  # `extend` warns
    return anchor.sign(links[-1]) if sign else ""


def extend(anchor: Anchor, ledger: LedgerReader, given_up: str = "") -> None:
    """Anchor every entry that is not; a problem is one warning, because the entry counts already.

    Args:
        anchor: of the ledger.
        ledger: is read after each lost race for the ref.
        given_up: the head of a line that the repair just made gives up.
    """
    if anchor.algorithm is None:
        _warn_once(f"{anchor.root} is in no Git repository")
        return
    try:
        for _ in range(ATTEMPTS):
            if _extended(anchor, ledger, given_up):
                return
            time.sleep(PAUSE)
    except SetupError as error:
        anchors.warn(error)
        return
    anchors.warn(f"{anchor.ref} is locked; if no process uses Git, delete its .lock file in .git")


def _extended(anchor: Anchor, ledger: LedgerReader, given_up: str) -> bool:
    own = anchor.head()
    links = anchor.line(ledger.read().entries, ledger.signatures())
    head = own or anchor.fetched(links)
    commits = [link.commit for link in links]
    if not links or own == commits[-1]:
        return True
    if head is not None and head not in commits and head != given_up:
        anchors.warn(_contradiction(anchor, head, links))
        return True
    lost = anchor.lacks_replaced(links)
    if lost is not None:
        anchors.warn(
            f"entry {lost.number} gives up a line that only another clone has: `refit pull`"
        )
        return True
    done = commits.index(head) + 1 if head in commits else 0
    anchor.write(links[done:])
    return anchor.move(links[-1], own)


def _unknown(anchor: Anchor, new: Sequence[Link], *, first: bool) -> tuple[list[str], list[str]]:
    """Errors and notes about entries that are not anchored yet."""
    foreign = {link.number for link in anchor.foreign(new)}
    errors, notes = [], []
    for link in new:
        entry = f"entry {link.number}, {_named(link.entry)}"
        if link.number not in foreign or first:
            notes.append(f"{entry}, is not anchored in Git yet; the next decision anchors it")
        elif anchor.is_ours:
            errors.append(f"{entry}, is in the database, but no run of this project wrote it")
        else:
            notes.append(f"{entry}, is not anchored here: it was written on another machine")
    return errors, notes


def _unsigned(anchor: Anchor, links: Sequence[Link], new: Sequence[Link]) -> list[str]:
    """Not yet anchored entries that the policy wants signed, and that are not."""
    wanted = [e for e in new if e.entry.kind in ANSWERS or e.entry.before != e.entry.after]
    if not wanted:
        return []
    signatures = anchor.signatures(links)
    errors = []
    for link in wanted:
        signature = signatures.get(link.number)
        if signature is None or not signature.is_of(link.entry.who):
            errors.append(
                f"entry {link.number}, {_named(link.entry)}, does not count: promote.approval is"
                f" `signed`, and its signature is {signature or 'missing'}"
            )
    return errors


def _contradiction(anchor: Anchor, head: str, links: Sequence[Link]) -> str:
    """The first difference between the ledger and the anchored line."""
    anchored = anchor.anchored(head)
    for link, entry in zip(links, anchored, strict=False):
        if entry != link.entry:
            other = f" ({_named(entry)})" if entry else ""
            return (
                f"entry {link.number}, {_named(link.entry)}, is not the one that was anchored in"
                f" Git{other}: the ledger was rewritten"
            )
    if len(anchored) > len(links):
        entry = anchored[len(links)]
        return (
            f"the ledger was cut off: it ends after {len(links)} entries, and Git has"
            f" {len(anchored)}; the first that is gone is {_named(entry) if entry else 'unknown'}"
        )
    return "a signature was changed or is gone: the entries are the anchored ones, the commits not"


def _restart(anchor: Anchor) -> str:
    return f"`git update-ref -d {anchor.ref}`, if the registry was deleted on purpose"


def _named(entry: Entry) -> str:
    about = "no version" if entry.version is None else f"version {entry.version}"
    return f"{entry.kind} of {about} by {entry.who}"


@cache
def _warn_once(why: str) -> None:
    anchors.warn(why)
