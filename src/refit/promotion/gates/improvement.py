"""Is the candidate better: than the champion, and not behind the baselines."""

import math
from typing import Any

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.evaluation.paired_bootstrap import Comparison
from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion import scoring
from refit.promotion.gate import Gate, Result, not_worse, verdict
from refit.promotion.policy import PromoteParams
from refit.promotion.scoring import LINEAR, Scored


def comparison(case: Scored, policy: PromoteParams) -> Comparison:
    """The candidate against the champion, or before there is one against the linear baseline."""
    holdout = case.holdout
    if case.fault or holdout.rival is None or not len(holdout.target):
        return paired_bootstrap.unmeasured(len(holdout.target), _blocks(holdout.blocks))
    return _paired(case, policy, holdout.rival, seeded=2 if case.rival != LINEAR else 1)


def improvement(
    found: Comparison, case: Scored, policy: PromoteParams, outlived: int | None
) -> Gate:
    """Better by the minimum effect; of a champion that has outlived its time, not worse by it.

    Args:
        found: the comparison.
        case: what was scored.
        policy: of the project.
        outlived: days that the champion has reigned, where that is too long.
    """
    limit = -policy.minimum_effect if outlived else policy.minimum_effect
    result: Result = "not enough evidence"
    if not math.isnan(found.difference):
        result = (
            not_worse(found, policy.minimum_effect)
            if outlived
            else verdict(found, policy.minimum_effect)
        )
    return Gate(
        name="improvement",
        group="improvement",
        result=result,
        said=_improvement_said(found, case, policy, outlived),
        limit=limit,
        **_numbers(found, policy),
    )


def _improvement_said(
    found: Comparison, case: Scored, policy: PromoteParams, outlived: int | None
) -> str:
    if case.fault:
        return (
            f"not compared with {case.rival}: {case.fault}; keep the columns and the task that the"
            " champion knows, or begin anew against the linear baseline: `refit rollback --to none"
            " --why ...`"
        )
    if math.isnan(found.difference):
        return f"not compared with {case.rival}: no holdout row is left to compare on"
    said = f"{policy.metric} {_signed(found.difference)} than {case.rival}"
    if found.blocks < FEWEST_BLOCKS:
        said += f"; {found.blocks} independent blocks prove nothing, {FEWEST_BLOCKS} could"
    if outlived:
        said += (
            f"; the champion has reigned for {outlived} days, longer than {policy.champion_days},"
            " so a candidate that is not worse may follow it"
        )
    return said


def baselines(case: Scored, policy: PromoteParams) -> tuple[Gate, ...]:
    """One gate for each baseline, also for those that the policy does not name."""
    return tuple(_baseline(case, policy, name) for name in scoring.BASELINES)


def _baseline(case: Scored, policy: PromoteParams, name: str) -> Gate:
    deficit = {"linear": policy.linear_deficit, "boosted": policy.boosted_deficit}[name]
    binding = name in policy.baselines
    predicted = case.baselines[name]
    unfit = not len(case.holdout.target) or not np.isfinite(case.predicted).all()
    if unfit:
        found = paired_bootstrap.unmeasured(len(case.holdout.target), _blocks(case.holdout.blocks))
        margin = math.nan
    else:
        found = _paired(case, policy, predicted, seeded=1)
        level = scoring.losses(policy.metric, case.task, case.holdout.target, predicted).mean()
        margin = deficit * float(level)
    result: Result = "not enough evidence" if unfit else not_worse(found, margin)
    said = f"{policy.metric} {_signed(found.difference)} than {name}"
    if unfit:
        said = f"not compared with {name}: there are no rows, or no finite predictions"
    elif deficit:
        said += f", {deficit:.1%} of whose loss it may stay behind"
    if not binding:
        said += "; the policy does not ask for it, so this is for information"
        result = "pass"
    return Gate(
        name=f"baseline {name}",
        group="baseline",
        result=result,
        said=said,
        limit=None if unfit else 0.0 - margin,
        binding=binding,
        **_numbers(found, policy),
    )


def _paired(case: Scored, policy: PromoteParams, other: np.ndarray, *, seeded: int) -> Comparison:
    """The candidate's losses against another's; `seeded` models would differ with other seeds."""
    own, rival = (
        scoring.losses(policy.metric, case.task, case.holdout.target, predicted)
        for predicted in (case.holdout.own, other)
    )
    return paired_bootstrap.paired(
        own,
        rival,
        case.holdout.blocks,
        resamples=policy.resamples,
        confidence=policy.confidence,
        seed=policy.seed,
        neighbours=policy.neighbours,
        noise=policy.seed_deviation * math.sqrt(seeded),
        minimum_effect=policy.minimum_effect,
    )


def _numbers(found: Comparison, policy: PromoteParams) -> dict[str, Any]:
    """The measured fields of a gate; None for what was not measured."""
    values = {
        "measured": found.difference,
        "lower": found.lower,
        "upper": found.upper,
    }
    shown: dict[str, Any] = {k: None if math.isnan(v) else v for k, v in values.items()}
    return shown | {"unit": policy.metric, "rows": found.rows, "blocks": found.blocks}


def _signed(difference: float) -> str:
    return f"{'better' if difference >= 0 else 'worse'} by {abs(difference):.5f}"


def _blocks(blocks: np.ndarray) -> int:
    return len(np.unique(blocks))
