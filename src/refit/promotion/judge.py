"""The judgement about a candidate: every gate of the policy, the outcome, and the evidence."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refit.core import files
from refit.evaluation.paired_bootstrap import Comparison
from refit.promotion import gate, scoring
from refit.promotion.gate import Gate, Outcome
from refit.promotion.gates import calibration, cost, groups, holdout, improvement, model, slices
from refit.promotion.gates.holdout import Reuse
from refit.promotion.policy import PromoteParams
from refit.promotion.scoring import LINEAR, Champion, Scored

__all__ = ["LINEAR", "Judgement", "Reuse", "judge"]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the evidence says."""

    outcome: Outcome
    gates: tuple[Gate, ...]
    comparison: Comparison
    rival: str
    """`version 3`, or the linear baseline before there is a champion."""
    reuse: Reuse
    scored: Scored
    """Both on the rows that were judged."""

    def evidence(self, policy: PromoteParams) -> dict[str, Any]:
        """All of it as JSON can hold it, rounded, with the policy: what is kept for good."""
        gates = [asdict(each) for each in self.gates]
        found = {**asdict(self.comparison), "rival": self.rival, "gates": gates}
        found["reuse"] = asdict(self.reuse)
        rounded: dict[str, Any] = files.rounded(found)
        return rounded | asdict(policy)


def judge(root: Path, policy: PromoteParams, champion: Champion | None, reuse: Reuse) -> Judgement:
    """Judge the bundle that the pipeline left.

    Args:
        root: of the project, its pipeline up to date.
        policy: of the project.
        champion: None before the first; the linear baseline takes its place.
        reuse: of this holdout.

    Raises:
        PipelineError: the evaluation is not of these holdout rows.
        ConfigError: the policy's metric does not fit the task.
    """
    case = scoring.score(root, champion, search=policy.found_slices > 0)
    outlived = policy.outlived(champion.since) if champion else None
    found = improvement.comparison(case, policy)
    gates = (
        improvement.improvement(found, case, policy, outlived),
        *evidence_gates(case, policy),
        *holdout.gates(case, policy, reuse),
        *model.gates(case),
        *cost.gates(case, policy),
    )
    return Judgement(
        outcome=gate.outcome(gates),
        gates=gates,
        comparison=found,
        rival=case.rival,
        reuse=reuse,
        scored=case,
    )


def evidence_gates(case: Scored, policy: PromoteParams) -> tuple[Gate, ...]:
    """The gates that look at predictions alone, beside the improvement."""
    return (
        *improvement.baselines(case, policy),
        calibration.gate(case, policy),
        *slices.declared(case, policy),
        *slices.found(case, policy),
        *groups.gates(case, policy),
    )
