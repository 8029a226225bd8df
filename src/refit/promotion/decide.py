"""Decides about the candidate: find the decision, or judge the candidate and record the outcome.

A decision is made once. Asked again, it is found in the ledger, and finished if a crash had
interrupted it. When the champion changes while a candidate is judged, the candidate is judged again
against the new champion.
"""

from pathlib import Path

from refit.core.errors import RegistryError
from refit.promotion import candidate as candidates
from refit.promotion import champion as champions
from refit.promotion import find, judge, record
from refit.promotion.candidate import Candidate
from refit.promotion.decision import Decision
from refit.promotion.gates.holdout import Reuse
from refit.registry import reconcile
from refit.registry.ledger import ATTEMPTS, Ledger
from refit.registry.registry import Registry
from refit.reproducibility.lineage import collect_lineage


def decide(root: Path, *, compare: bool = False) -> Decision:
    """Decide about the bundle in data/bundle, register it, and promote it if it passed.

    Args:
        root: of the project.
        compare: compare the files that a new decision reads with what DVC recorded of them.

    Raises:
        PipelineError: the pipeline has left no bundle.
        DataError: the bundle is not one that may be used, or a file that the decision reads is not
            what DVC has recorded.
        ConfigError: the policy's metric does not fit the task.
        RegistryError: MLflow cannot be reached, the ledger was changed by hand or contradicts its
            anchor, or the champion was deleted.
    """
    candidate = candidates.load(root)
    decision = find.without_mlflow(candidate)
    if decision is not None:
        return decision
    registry = Registry.open(root, candidate.name)
    with registry.locked():
        for _ in range(ATTEMPTS):
            signed = candidate.policy.asks_for_a_signature
            ledger = reconcile.apply(registry, signed=signed)
            decision = find.find(registry, ledger, candidate) or _decide(
                registry, ledger, candidate, compare=compare
            )
            if decision is not None:
                return decision
    raise RegistryError(
        "the champion changed each time while this decision was made",
        where=f"registered model {candidate.name}",
        do="run `refit promote` again when fewer decisions are made at the same time",
    )


def _decide(
    registry: Registry, ledger: Ledger, candidate: Candidate, *, compare: bool
) -> Decision | None:
    """Judge the candidate and record the decision; None when another decision came first."""
    if compare:
        candidates.require_as_recorded(candidate)
    with candidate.trying() as trial:
        # Before the judgement takes its time: the commit must hold what the pipeline has just run.
        lineage = collect_lineage(candidate.root, candidate.name, candidate.digest)
        version = registry.champion(ledger)
        key = find.key(candidate, version, ledger)
        champion = None
        if version is not None and ledger.champion_entry is not None:
            champion = champions.load(registry, version, ledger.champion_entry.moment)
        trial.predictions()
    earlier = ledger.judged_on(candidate.holdout_digest)
    reuse = Reuse(decisions=len(earlier), candidates=len({entry.version for entry in earlier}))
    judgement = judge.judge(candidate, champion, reuse)
    return record.record(registry, candidate, champion, judgement, key=key, lineage=lineage)
