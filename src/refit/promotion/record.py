"""Records a decision: registers the candidate, logs the evidence, and enters it in the ledger.

Only the entry in the ledger makes a decision count. A crash before it leaves nothing that a
repetition would do twice; a crash after it is finished by the next run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from refit.core import paths
from refit.promotion import evidence as decision_files
from refit.promotion import report
from refit.promotion.candidate import Candidate
from refit.promotion.champion import Champion
from refit.promotion.decision import Decision
from refit.promotion.gate import Outcome
from refit.promotion.judge import Judgement
from refit.promotion.policy import PromoteParams
from refit.registry import reconcile
from refit.registry.entry import Entry, PolicyKind, text_digest
from refit.registry.ledger import Ledger
from refit.registry.registry import Registry
from refit.registry.version import Version, decision_tag
from refit.reproducibility.lineage import lineage_tags
from refit.serving import input_example
from refit.workspace import git


def record(
    registry: Registry,
    candidate: Candidate,
    champion: Champion | None,
    judgement: Judgement,
    *,
    key: str,
    lineage: Mapping[str, Any],
) -> Decision | None:
    """Record the judgement about a candidate.

    Args:
        registry: of the project, locked.
        candidate: that was judged.
        champion: that it was compared with.
        judgement: the result.
        key: of the decision.
        lineage: of the version.

    Returns:
        None when the champion has changed since, or another machine has just decided the same.
    """
    version = registry.versions.register(
        candidate.digest,
        candidate.root / paths.BUNDLE,
        fingerprint=lineage["training"],
        lineage=lineage,
        examples=input_example.take(candidate.bundle, candidate.holdout),
        tags=lineage_tags(lineage),
    )
    evidence = judgement.evidence(candidate.policy)
    sentence = report.sentence(judgement.outcome, version.number, evidence)
    decision = Decision(
        outcome=judgement.outcome,
        version=version.number,
        champion_before=champion.number if champion else None,
        sentence=sentence,
        report=report.markdown(sentence, evidence, candidate.metrics),
        key=key,
        evidence=evidence,
        cached=False,
    )
    inputs = _inputs(candidate, lineage["data"])
    scored = judgement.scored.table()
    with decision_files.collected(candidate.root, candidate.name, scored) as folder:
        context = {decision_files.folder(key): folder}
        _log(registry, candidate, version, decision, context=context, inputs=inputs)
    return _enter(registry, candidate, version, decision)


def _log(
    registry: Registry,
    candidate: Candidate,
    version: Version,
    decision: Decision,
    *,
    context: Mapping[str, Path],
    inputs: Mapping[str, str],
) -> None:
    """Log what the decision is based on to the version's run."""
    registry.artifacts.log_evaluation(
        version,
        metrics=_metrics(candidate.metrics),
        folders={"evaluation": candidate.root / paths.EVALUATION, **context},
        report=decision.report,
        inputs=inputs,
    )


def _enter(
    registry: Registry, candidate: Candidate, version: Version, decision: Decision
) -> Decision | None:
    """Write the decision onto its version and enter it in the ledger; None as above."""
    text = decision.to_json()
    evidence = text_digest(text)
    registry.tags.record_decision(version.number, decision.key, text)

    def entry(ledger: Ledger) -> Entry | None:
        changed = ledger.champion != decision.champion_before
        if changed or ledger.decided(decision.key, decision.version):
            return None
        kind = _kind(decision.outcome, candidate.policy)
        return ledger.entry(
            kind,
            who=git.user(candidate.root),
            why=decision.sentence + _replaces(kind, ledger),
            version=decision.version,
            after=decision.version if kind == "promote" else ledger.champion,
            key=decision.key,
            evidence=evidence,
            policy=text_digest(json.dumps(asdict(candidate.policy), sort_keys=True)),
            holdout=candidate.holdout_digest,
            facts=version.facts,
        )

    ledger = reconcile.enter(registry, entry)
    entered = ledger.decided(decision.key, decision.version)
    if entered is None or entered.evidence != evidence:
        registry.tags.delete(version.number, decision_tag(decision.key, text))
        return None
    return replace(decision, waits=ledger.waiting == decision.version)


def _kind(outcome: Outcome, policy: PromoteParams) -> PolicyKind:
    return "wait" if outcome == "promote" and policy.asks_a_person else outcome


def _replaces(kind: PolicyKind, ledger: Ledger) -> str:
    if kind not in {"wait", "promote"} or ledger.waiting is None:
        return ""
    return f" It replaces version {ledger.waiting}, which waited."


def _metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """`holdout.MODEL.METRIC` -> value, without undefined ones."""
    return {
        f"holdout.{model}.{name}": interval["value"]
        for model, metrics in evaluation["models"].items()
        for name, interval in metrics.items()
        if interval["value"] is not None
    }


def _inputs(candidate: Candidate, partitions: Mapping[str, str]) -> dict[str, str]:
    """Digests of the raw tables and of the holdout rows, by path.

    Args:
        candidate: gives the digest of the holdout.
        partitions: the digest of each raw partition, by its path below data/raw. The digest of a
            table is made of them, as `files.digest` does, without reading the table again.
    """
    tables: dict[str, str] = {}
    for path, digest in sorted(partitions.items()):
        table, _, name = path.partition("/")
        tables[table] = tables.get(table, "") + f"{name}\0{digest}\n"
    inputs = {f"{paths.RAW}/{name}": text_digest(text) for name, text in tables.items()}
    return inputs | {paths.HOLDOUT.as_posix(): candidate.holdout_digest}
