"""Keeps the registry in line with its ledger, and refuses to decide on a damaged ledger.

A decision is first entered in the ledger. Then it is anchored in Git, its version is tagged, and
the aliases are set from the ledger. If a crash comes between, the next call of `apply` does the
rest.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from refit.core.errors import RegistryError
from refit.registry import anchoring
from refit.registry.aliases import CHAMPION, expected_aliases
from refit.registry.entry import ENTRY_TAG, Entry
from refit.registry.ledger import ATTEMPTS, Ledger
from refit.registry.reader import Reader
from refit.registry.registry import Registry
from refit.registry.version import LOST_TAG, OUTCOME
from refit.tracking import errors
from refit.workspace import git

ALIAS_DELAY = timedelta(minutes=1)
"""For this long after a change of champion, an alias with another version is only late."""
LISTED = 5
"""Damaged entries that an error lists."""


def intact(reader: Reader) -> Ledger:
    """The ledger, if nothing in it was changed by hand since the last repair.

    Raises:
        RegistryError: something was.
    """
    tags = reader.versions.entry_tags()  # first: an entry is always older than its tag
    ledger = reader.ledger.read()
    damage = ledger.unrepaired(tags)
    if damage:
        raise RegistryError(
            "the ledger was changed by hand, so nothing is decided on it",
            got="; ".join(each.message for each in damage[:LISTED]),
            do="restore the registry's database from a backup (`refit history --verify` checks it"
            " again), or continue with what is left: `refit rollback --to V --why ...` names the"
            " champion again, and the ledger records it",
        )
    return ledger


def applied(reader: Reader) -> Ledger | None:
    """The ledger, if versions and aliases are as it says; None if `apply` has work to do.

    Raises:
        RegistryError: the ledger was changed by hand.
    """
    tags = reader.versions.entry_tags()
    ledger = intact(reader)
    if not ledger.entries:
        return None
    number, last = ledger.entries[-1]
    tagged = last.version is None or f"{ENTRY_TAG}{number}" in tags.get(last.version, {})
    return ledger if tagged and not _wrong_aliases(reader, ledger) else None


def confirmed(registry: Registry, *, signed: bool) -> Ledger:
    """The ledger, if nothing in it was changed by hand and it agrees with its anchor in Git.

    What was not anchored before is anchored now.

    Args:
        registry: of the project.
        signed: whether the policy asks for the signatures of persons.

    Raises:
        RegistryError: something was changed, or an answer is not signed.
    """
    ledger = intact(registry)
    anchoring.confirm(registry.anchor, registry.ledger, signed=signed)
    return ledger


def apply(registry: Registry, *, signed: bool = False) -> Ledger:
    """Anchor the last entry, tag its version, and set the aliases, as the ledger says.

    Raises:
        RegistryError: the ledger was changed by hand, contradicts its anchor or lacks a signature,
            or its champion was deleted.
    """
    ledger = confirmed(registry, signed=signed)
    registry.champion(ledger)
    if _moved_by_hand(registry, ledger):
        ledger = _enter_moved_alias(registry)
    if ledger.entries:
        _tag_version(registry, *ledger.entries[-1])
    return set_aliases(registry)


def enter(
    registry: Registry,
    make: Callable[[Ledger], Entry | None],
    *,
    sign: bool = False,
    given_up: str = "",
) -> Ledger:
    """Append the entry that `make` returns, anchor it, tag its version, and set the aliases.

    Args:
        registry: of the project.
        make: the entry, from the ledger as it is.
        sign: whether the entry is signed with the user's key.
        given_up: the anchored commit whose line the entry, a repair, gives up.

    Raises:
        SetupError: the entry cannot be signed.
    """
    attempted: Entry | None = None

    def attempt(ledger: Ledger) -> Entry | None:
        nonlocal attempted
        attempted = make(ledger)
        return attempted

    def seal(before: Ledger, entry: Entry) -> str:
        return anchoring.seal(registry.anchor, before, registry.ledger, entry, sign=sign)

    ledger = registry.ledger.append(attempt, seal)
    if attempted is None:
        return ledger
    anchoring.extend(registry.anchor, registry.ledger, given_up)
    for number, entry in ledger.entries:
        if entry == attempted:
            _tag_version(registry, number, entry)
    return set_aliases(registry)


def set_aliases(registry: Registry) -> Ledger:
    """Set the aliases from the ledger.

    The ledger is read again after each change. So of several processes, the last one to set an
    alias has then seen the latest entry, or sets the alias once more.

    Raises:
        RegistryError: something else keeps setting the aliases.
    """
    deleted: set[int | None] = set()
    for _ in range(ATTEMPTS):
        ledger = registry.ledger.read()
        wrong = {
            alias: number
            for alias, number in _wrong_aliases(registry, ledger).items()
            if number not in deleted
        }
        if not wrong:
            return ledger
        for alias, number in wrong.items():
            try:
                registry.aliases.set(alias, number)
            except RegistryError as error:
                if not errors.is_missing(error):
                    raise
                deleted.add(number)  # by hand: an alias cannot name it
    raise RegistryError(
        "the aliases cannot be set: something keeps moving them",
        where=f"registered model {registry.name}",
        do="stop what moves them, then run this again",
    )


def repair(
    registry: Registry,
    make: Callable[[Ledger], Entry | None],
    *,
    sign: bool = False,
    given_up: str = "",
) -> Ledger:
    """Start again on a ledger that was changed by hand.

    Entry tags whose entry is gone are renamed, so that the damage stays known.
    """
    enter(registry, make, sign=sign, given_up=given_up)
    tags = registry.versions.entry_tags()
    ledger = registry.ledger.read()
    for version, number, digest in ledger.stale_tags(tags):
        registry.tags.set(version, {f"{LOST_TAG}{number}": digest})
        registry.tags.delete(version, f"{ENTRY_TAG}{number}")
    return apply(registry)


def _wrong_aliases(reader: Reader, ledger: Ledger) -> dict[str, int | None]:
    """The aliases that are not what the ledger says, with what it says."""
    expected = expected_aliases(ledger)
    return {
        alias: number for alias, number in expected.items() if reader.aliases.get(alias) != number
    }


def _moved_by_hand(registry: Registry, ledger: Ledger) -> bool:
    """Whether the alias is neither what the ledger says nor what it said before the last change."""
    change = ledger.champion_entry
    if change is None or datetime.now(UTC) - change.moment < ALIAS_DELAY:
        return False
    return registry.aliases.get(CHAMPION) not in {ledger.champion, change.before}


def _enter_moved_alias(registry: Registry) -> Ledger:
    """Enter that the alias is set back, and what it had named."""

    def make(ledger: Ledger) -> Entry | None:
        if not _moved_by_hand(registry, ledger):
            return None
        number = registry.aliases.get(CHAMPION)
        return ledger.entry(
            "alias",
            who=git.user(registry.root),
            why=f"put back: it named {f'version {number}' if number else 'no version'}",
            version=ledger.champion,
            after=ledger.champion,
        )

    return enter(registry, make)


def _tag_version(registry: Registry, number: int, entry: Entry) -> None:
    """Tag the entry's version with the entry's digest, if the version still exists.

    What other machines recorded for the same decision is deleted first, also when a crash is
    repeated: only one of the texts was entered.
    """
    if entry.version is None:
        return
    tag = f"{ENTRY_TAG}{number}"
    try:
        version = registry.versions.get(entry.version)
        if version.tags.get(tag) == entry.digest:
            return
        if entry.key:
            registry.tags.delete_other_decisions(version, entry.key, entry.evidence)
            registry.tags.set(version.number, {OUTCOME: entry.kind})
        registry.tags.set(version.number, {tag: entry.digest})
    except RegistryError as error:
        if not errors.is_missing(error):
            raise
