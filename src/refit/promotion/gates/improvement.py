"""Gates: the candidate is better than its rival, and not behind the baselines."""

import math
from typing import Any

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.evaluation.baselines import BASELINES, BaselineName
from refit.evaluation.paired_bootstrap import Comparison
from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion import scoring
from refit.promotion.gate import Gate, Result, better, not_worse
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import LINEAR, ScoredCandidate


def compare(scored: ScoredCandidate, policy: PromoteParams) -> Comparison:
    """The candidate compared with its rival on the holdout."""
    holdout = scored.holdout
    if scored.comparison_error or holdout.rival is None or not len(holdout):
        return _unmeasured(scored)
    return paired(scored, policy, holdout.rival, seeds=2 if scored.rival != LINEAR else 1)


def gate(
    comparison: Comparison, scored: ScoredCandidate, policy: PromoteParams, overdue: int | None
) -> Gate:
    """Better by the minimum effect; than an overdue champion, not worse by it.

    Args:
        comparison: of candidate and rival.
        scored: what was compared.
        policy: of the project.
        overdue: days that the champion has been champion, where that is too long.
    """
    result: Result = "not enough evidence"
    if not math.isnan(comparison.difference):
        passes = not_worse if overdue else better
        result = passes(comparison, policy.minimum_effect)
    return Gate(
        name="improvement",
        group="improvement",
        result=result,
        summary=_summary(comparison, scored, policy, overdue),
        limit=-policy.minimum_effect if overdue else policy.minimum_effect,
        **_numbers(comparison, policy),
    )


def _summary(
    comparison: Comparison, scored: ScoredCandidate, policy: PromoteParams, overdue: int | None
) -> str:
    if scored.comparison_error:
        return (
            f"not compared with {scored.rival}: {scored.comparison_error}; keep the columns and the"
            " task that the champion knows, or start again against the linear baseline:"
            " `refit rollback --to none --why ...`"
        )
    if math.isnan(comparison.difference):
        return f"not compared with {scored.rival}: no holdout row is left to compare on"
    summary = f"{policy.metric} {_signed(comparison.difference)} than {scored.rival}"
    if comparison.blocks < FEWEST_BLOCKS:
        summary += (
            f"; {comparison.blocks} independent blocks prove nothing, at least {FEWEST_BLOCKS} are"
            " needed"
        )
    if overdue:
        summary += (
            f"; the champion has been champion for {overdue} days, longer than"
            f" {policy.champion_days}, so a candidate that is not worse may replace it"
        )
    return summary


def baselines(scored: ScoredCandidate, policy: PromoteParams) -> tuple[Gate, ...]:
    """One gate for each baseline, also for those that the policy does not name."""
    return tuple(_baseline(scored, policy, name) for name in BASELINES)


def _baseline(scored: ScoredCandidate, policy: PromoteParams, name: BaselineName) -> Gate:
    comparison, margin = _unmeasured(scored), math.nan
    result: Result = "not enough evidence"
    summary = f"not compared with {name}: there are no rows, or predictions are not finite"
    measurable = len(scored.holdout) > 0 and np.isfinite(scored.all_predictions).all()
    if measurable:
        predicted, deficit = scored.baselines[name], policy.deficit(name)
        comparison = paired(scored, policy, predicted, seeds=1)
        loss = scoring.losses(policy.metric, scored.task, scored.holdout.target, predicted)
        margin = deficit * float(loss.mean())
        result = not_worse(comparison, margin)
        summary = f"{policy.metric} {_signed(comparison.difference)} than {name}"
        if deficit:
            summary += f"; it may stay behind by {deficit:.1%} of the baseline's loss"
    binding = name in policy.baselines
    if not binding:
        summary += "; for information, because the policy does not name this baseline"
        result = "pass"
    return Gate(
        name=f"baseline {name}",
        group="baseline",
        result=result,
        summary=summary,
        limit=0.0 - margin if measurable else None,
        binding=binding,
        **_numbers(comparison, policy),
    )


def paired(
    scored: ScoredCandidate, policy: PromoteParams, other: np.ndarray, *, seeds: int
) -> Comparison:
    """The candidate compared with other predictions (N,) or (N, K) of the holdout.

    Args:
        scored: gives the candidate's predictions.
        policy: gives the metric and the settings of the bootstrap.
        other: predictions of the same rows.
        seeds: how many of the two models depend on a seed.
    """
    holdout = scored.holdout
    candidate_loss, other_loss = (
        scoring.losses(policy.metric, scored.task, holdout.target, predicted)
        for predicted in (holdout.candidate, other)
    )
    return paired_bootstrap.paired(
        candidate_loss,
        other_loss,
        holdout.blocks,
        resamples=policy.resamples,
        confidence=policy.confidence,
        seed=policy.seed,
        neighbours=policy.neighbours,
        noise=policy.seed_deviation * math.sqrt(seeds),
        minimum_effect=policy.minimum_effect,
    )


def _unmeasured(scored: ScoredCandidate) -> Comparison:
    blocks = len(np.unique(scored.holdout.blocks))
    return paired_bootstrap.unmeasured(len(scored.holdout), blocks)


def _numbers(comparison: Comparison, policy: PromoteParams) -> dict[str, Any]:
    """The measured fields of a gate; None for what was not measured."""
    values = {
        "measured": comparison.difference,
        "lower": comparison.lower,
        "upper": comparison.upper,
    }
    finite: dict[str, Any] = {k: None if math.isnan(v) else v for k, v in values.items()}
    return finite | {"unit": policy.metric, "rows": comparison.rows, "blocks": comparison.blocks}


def _signed(difference: float) -> str:
    return f"{'better' if difference >= 0 else 'worse'} by {abs(difference):.5f}"
