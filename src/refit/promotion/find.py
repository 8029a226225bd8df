"""Finds the decision about a candidate that the ledger has already.

A decision is named by a key of everything that it depends on: candidate, champion, holdout (with
its blocks and the predictions of the baselines) and policy. The same key is decided once.
"""

import json
from dataclasses import asdict, replace
from typing import Any, cast

from refit.core.printable import markdown
from refit.promotion import report
from refit.promotion.candidate import Candidate
from refit.promotion.decision import Decision
from refit.promotion.gate import Outcome
from refit.registry import reconcile
from refit.registry.entry import Entry, text_digest
from refit.registry.ledger import Ledger
from refit.registry.reader import Reader
from refit.registry.sqlite_reader import SqliteReader, UnknownError
from refit.registry.version import Version, reviewed_tag

PASSED = ("promote", "wait")
"""Kinds of entries about a candidate that passed every gate."""


def without_mlflow(candidate: Candidate) -> Decision | None:
    """The decision by a quick look into MLflow's database; None where only MLflow can answer.

    Raises:
        RegistryError: the ledger was changed by hand.
    """
    try:
        reader = SqliteReader.open(candidate.root, candidate.name)
        ledger = reconcile.applied(reader)
        return None if ledger is None else find(reader, ledger, candidate)
    except UnknownError:
        return None


def find(reader: Reader, ledger: Ledger, candidate: Candidate) -> Decision | None:
    """The decision about the candidate; None where the ledger has none.

    Raises:
        RegistryError: the champion was deleted.
    """
    champion = None if ledger.champion is None else reader.versions.get(ledger.champion)
    if champion is not None and champion.digest == candidate.digest:
        return _about_champion(champion, ledger, candidate)
    decision_key = key(candidate, champion, ledger)
    version = reader.versions.find(candidate.digest)
    entry = ledger.decided(decision_key, version.number) if version else None
    if version is None or entry is None:
        return None
    return _decision(entry, version, ledger, candidate)


def key(candidate: Candidate, champion: Version | None, ledger: Ledger) -> str:
    """Names the decision by everything that it depends on."""
    parts: dict[str, Any] = {
        "candidate": candidate.digest,
        "champion": [champion.number, champion.digest] if champion else None,
        "holdout": candidate.holdout_digest,
        "judged": candidate.predictions_digest,
        "policy": asdict(candidate.policy),
    }
    change = ledger.champion_entry
    if champion is not None and change and candidate.policy.overdue(change.moment):
        # Against an overdue champion less is asked, see refit.promotion.gates.improvement.
        parts["overdue"] = True
    return text_digest(json.dumps(parts, sort_keys=True))


def _about_champion(champion: Version, ledger: Ledger, candidate: Candidate) -> Decision:
    """The decision that the champion passed; the candidate is the same model."""
    sentence = f"Version {champion.number} is the champion, and nothing newer challenges it."
    passed = [e for e in ledger.about(champion.number) if e.kind in PASSED and e.key]
    if passed:
        return replace(_decision(passed[-1], champion, ledger, candidate), sentence=sentence)
    change = ledger.champion_entry
    reason = f" By {change.who}: {change.why}." if change else ""
    return Decision(
        outcome="promote",
        version=champion.number,
        champion_before=None,
        sentence=sentence,
        report=f"**{sentence}**{markdown(reason)}\n",
        key="",
        evidence={},
        cached=True,
        reviewed=True,
    )


def _decision(entry: Entry, version: Version, ledger: Ledger, candidate: Candidate) -> Decision:
    """The decision of an entry, with the evidence that was recorded on the version.

    Without evidence that can be read (it was changed by hand, or another checkout wrote it), the
    sentence of the entry stands alone.
    """
    record = version.decision(entry.evidence)
    evidence = record["evidence"] if record and report.readable(record["evidence"]) else None
    sentence = str(record["sentence"]) if record and evidence else entry.why
    if entry.kind in PASSED:
        sentence += _later(version.number, ledger)
    return Decision(
        outcome="promote" if entry.kind in PASSED else cast("Outcome", entry.kind),
        version=version.number,
        champion_before=entry.before,
        sentence=sentence,
        report=(
            report.markdown(sentence, evidence, candidate.metrics)
            if evidence
            else f"**{markdown(sentence)}** Its evidence is missing, or another checkout of Refit"
            " wrote it.\n"
        ),
        key=entry.key,
        evidence=evidence or {},
        cached=True,
        waits=ledger.waiting == version.number,
        reviewed=not evidence or reviewed_tag(entry.key) in version.tags,
    )


def _later(version: int, ledger: Ledger) -> str:
    """What became of a version that had passed; '' while it waits or is champion."""
    end = ledger.end(version)
    if end is None:
        return ""
    number, entry = end
    about = f"{entry.kind} of version {entry.version or 'none'} by {entry.who}"
    return f" Since then, entry {number} of the ledger: {about}: {entry.why}"
