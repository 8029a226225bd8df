"""The judgement about a candidate: every gate of the policy, the outcome and the evidence."""

from dataclasses import asdict, dataclass
from typing import Any

from refit.core import files
from refit.evaluation.paired_bootstrap import Comparison
from refit.evaluation.release import distance
from refit.promotion import gate, scoring
from refit.promotion.candidate import Candidate
from refit.promotion.champion import Champion
from refit.promotion.gate import Gate, Outcome
from refit.promotion.gates import (
    calibration,
    cost,
    groups,
    holdout,
    improvement,
    model,
    release,
    slices,
)
from refit.promotion.gates.holdout import Reuse
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import ScoredCandidate


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The result of all gates."""

    outcome: Outcome
    gates: tuple[Gate, ...]
    comparison: Comparison
    reuse: Reuse
    scored: ScoredCandidate
    """Candidate and rival on the rows that were compared."""

    def evidence(self, policy: PromoteParams) -> dict[str, Any]:
        """Everything that is kept for good, as rounded JSON values, with the policy."""
        measured = {
            **asdict(self.comparison),
            "rival": self.scored.rival,
            "gates": [asdict(each) for each in self.gates],
            "reuse": asdict(self.reuse),
            **self._releases(),
        }
        rounded: dict[str, Any] = files.rounded(measured)
        return rounded | asdict(policy)

    def _releases(self) -> dict[str, Any]:
        """How far the candidate is from its twin, and the rival's; only of release fits."""
        scored = self.scored
        measured: dict[str, Any] = {}
        if scored.release is not None:
            measured["release"] = distance(scored.all_predictions, scored.release.predictions)
        if scored.rival in scored.twins:
            measured["rival_twin"] = True
        return measured


def judge(candidate: Candidate, champion: Champion | None, reuse: Reuse) -> Judgement:
    """Judge a candidate by its policy.

    Args:
        candidate: the candidate, its pipeline up to date.
        champion: None before the first champion; the linear baseline takes its place.
        reuse: earlier decisions on this holdout.

    Raises:
        PipelineError: the evaluation is not of these holdout rows.
        ConfigError: the policy's metric does not fit the task.
    """
    policy = candidate.policy
    scored = scoring.score(candidate, champion)
    overdue = policy.overdue(champion.since) if champion else None
    comparison = improvement.compare(scored, policy)
    gates = (
        improvement.gate(comparison, scored, policy, overdue),
        *prediction_gates(scored, policy),
        *holdout.gates(scored, policy, reuse),
        *model.gates(scored),
        *release.gates(scored, policy),
        *cost.gates(scored, policy),
    )
    return Judgement(
        outcome=gate.outcome(gates),
        gates=gates,
        comparison=comparison,
        reuse=reuse,
        scored=scored,
    )


def prediction_gates(scored: ScoredCandidate, policy: PromoteParams) -> tuple[Gate, ...]:
    """The gates that need nothing but predictions, without the improvement."""
    return (
        *improvement.baselines(scored, policy),
        calibration.gate(scored, policy),
        *slices.declared(scored, policy),
        *slices.searched(scored, policy),
        *groups.gates(scored, policy),
    )
