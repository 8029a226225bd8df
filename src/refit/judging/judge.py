"""The judgement about a candidate: every gate of the policy, the outcome, and the evidence."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refit.core import files
from refit.judging import compare, gate
from refit.judging.compare import Comparison
from refit.judging.gate import Gate, Outcome
from refit.judging.policy import PromoteParams
from refit.judging.scored import Champion, Scored, score

LINEAR = "the linear baseline"


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """How often a holdout has decided before this candidate."""

    decisions: int
    candidates: int
    """Different bundles among them."""


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
        DataError: the champion cannot score the rows, or a loss is not finite.
    """
    scored = score(root, champion)
    own, other = scored.losses(policy.metric)
    rival = f"version {champion.number}" if champion else LINEAR
    comparison = compare.paired(
        own,
        other,
        scored.blocks,
        resamples=policy.resamples,
        confidence=policy.confidence,
        seed=policy.seed,
    )
    gates = (_improvement(comparison, policy, rival),)
    return Judgement(
        outcome=gate.outcome(gates),
        gates=gates,
        comparison=comparison,
        rival=rival,
        reuse=reuse,
        scored=scored,
    )


def _improvement(found: Comparison, policy: PromoteParams, rival: str) -> Gate:
    return Gate(
        name="champion" if rival != LINEAR else "baseline linear",
        group="improvement",
        result=compare.verdict(found, policy.minimum_effect),
        said=f"{policy.metric} better by {found.difference:.5f} than {rival}",
        measured=found.difference,
        lower=found.lower,
        upper=found.upper,
        limit=policy.minimum_effect,
        unit=policy.metric,
        rows=found.rows,
        blocks=found.blocks,
    )
