"""Reads the ledger: what was decided, who was champion when, and whether it was changed by hand."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from refit.registry import reading
from refit.registry.aliases import expected_aliases
from refit.registry.entry import text_digest
from refit.registry.ledger import Ledger
from refit.registry.reader import Reader


def read(root: Path) -> Ledger:
    """The ledger as it stands."""
    return reading.ask(root, lambda reader: reader.ledger.read())


def live(root: Path, moment: datetime) -> int | None:
    """The version that was champion at the moment."""
    return read(root).live(moment)


def verify(root: Path) -> list[str]:
    """What `refit history --verify` finds: changed or missing entries, aliases, lost evidence."""
    return reading.ask(root, _errors)


def _errors(reader: Reader) -> list[str]:
    versions = reader.versions.all()
    ledger = reader.ledger.read()
    entry_tags = {version.number: version.entry_tags for version in versions}
    errors = [damage.message for damage in ledger.unrepaired(entry_tags)]
    for alias, wanted in expected_aliases(ledger).items():
        named = reader.aliases.get(alias)
        if named != wanted:
            errors.append(
                f"the alias {alias} names {_version(named)}, the ledger {_version(wanted)}: it was"
                " moved by hand, or a decision was interrupted; the next run corrects it"
            )
    tags = {version.number: version.tags for version in versions}
    errors += [
        f"{_version(number)} was champion or waits, but is gone from the registry"
        for number in sorted({*ledger.champions(), *([ledger.waiting] if ledger.waiting else [])})
        if number not in tags
    ]
    return errors + _lost_evidence(ledger, tags)


def _version(number: int | None) -> str:
    return f"version {number}" if number else "no version"


def _lost_evidence(ledger: Ledger, tags: Mapping[int, Mapping[str, str]]) -> list[str]:
    """Decisions in the ledger whose evidence does not stand on their version, if that is there."""
    kept = {
        number: {text_digest(text) for text in found.values()} for number, found in tags.items()
    }
    return [
        f"the evidence of entry {number} on version {entry.version} was changed or is gone"
        for number, entry in ledger.entries
        if entry.evidence and entry.version in kept and entry.evidence not in kept[entry.version]
    ]
