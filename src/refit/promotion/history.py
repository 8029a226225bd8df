"""Reads the ledger: what was decided, who was champion when, and whether it was changed by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from refit.core import params, paths
from refit.registry import anchoring, reading
from refit.registry.aliases import expected_aliases
from refit.registry.anchor import Anchor
from refit.registry.ledger import Ledger
from refit.registry.reader import Reader


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What `refit history --verify` finds."""

    errors: tuple[str, ...]
    """What was changed by hand."""
    notes: tuple[str, ...]
    """What cannot be told from here."""


def read(root: Path) -> Ledger:
    """The ledger as it stands."""
    return reading.ask(root, lambda reader: reader.ledger.read())


def live(root: Path, moment: datetime) -> int | None:
    """The version that was champion at the moment."""
    return read(root).live(moment)


def verify(root: Path) -> list[str]:
    """The errors that `examine` finds."""
    return list(examine(root).errors)


def examine(root: Path) -> Findings:
    """Compare the ledger with itself, its anchor in Git, its signatures, the aliases and versions.

    Raises:
        RegistryError: MLflow cannot be reached.
        SetupError: Git fails.
        ConfigError: params.yaml has errors.
    """
    from refit.promotion import policy

    signed = policy.read(root).asks_for_a_signature
    anchor = Anchor(root, params.dataset_name(root / paths.PARAMS))
    standing = reading.ask(
        root, lambda reader: anchoring.standing(anchor, reader.ledger, signed=signed)
    )
    errors = reading.ask(root, partial(_errors, anchor=anchor))
    signatures = anchoring.bad_signatures(anchor, standing.links)
    return Findings(errors=(*errors, *standing.errors, *signatures), notes=standing.notes)


def _errors(reader: Reader, anchor: Anchor) -> list[str]:
    from refit.promotion import ledger_checks as checks

    listed = reader.versions.all()
    ledger = reader.ledger.read()
    versions = {version.number: version for version in listed}
    entry_tags = {version.number: version.entry_tags for version in listed}
    own = (anchor.root / paths.ARTIFACTS / anchor.name).as_uri() if anchor.is_ours else ""
    return [
        *(damage.message for damage in ledger.unrepaired(entry_tags)),
        *checks.impossible_times(ledger),
        *_moved_aliases(reader, ledger),
        *_lost_versions(ledger, set(versions)),
        *checks.lost_evidence(ledger, versions),
        *checks.odd_marks(versions),
        *checks.changed_facts(ledger, versions),
        *checks.changed_outcomes(ledger, versions),
        *checks.changed_grades(ledger, versions),
        *checks.moved_artifacts(reader.versions.places(), versions, own),
    ]


def _moved_aliases(reader: Reader, ledger: Ledger) -> Iterator[str]:
    for alias, wanted in expected_aliases(ledger).items():
        named = reader.aliases.get(alias)
        if named != wanted:
            yield (
                f"the alias {alias} names {_version(named)}, the ledger {_version(wanted)}: it was"
                " moved by hand, or a decision was interrupted; the next run corrects it"
            )


def _lost_versions(ledger: Ledger, there: set[int]) -> Iterator[str]:
    wanted = {*ledger.champions(), *([ledger.waiting] if ledger.waiting else [])}
    for number in sorted(wanted - there):
        yield f"{_version(number)} was champion or waits, but is gone from the registry"


def _version(number: int | None) -> str:
    return f"version {number}" if number else "no version"
