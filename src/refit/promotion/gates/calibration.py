"""Gate: the expected calibration error of the probabilities on the holdout.

The error is a sum of absolute gaps, so chance alone makes it positive, and resampling adds as much
again. By the triangle inequality, its distance from the true error is at most the sum of the errors
of the gaps. The bootstrap gives the distribution of that sum. The interval from it is wide, but it
never mistakes chance for a calibration error.
"""

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion.gate import Gate, Result
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import ScoredCandidate
from refit.tasks.statistics import CALIBRATION_BINS, by_block, equal_bins


def gate(scored: ScoredCandidate, policy: PromoteParams) -> Gate:
    """Fails when the error is proven to be above the limit; above it without proof: no evidence."""
    holdout, limit = scored.holdout, policy.calibration_limit
    rows, blocks = len(holdout), len(np.unique(holdout.blocks))
    pair = scored.task.calibrated(holdout.target, holdout.candidate)
    if pair is None:
        summary = f"does not apply: a {scored.task.name} task predicts no probability"
        return _gate("pass", summary, rows=rows)
    if blocks < FEWEST_BLOCKS or not np.isfinite(holdout.candidate).all():
        summary = f"not measured: {rows:,} rows in {blocks} blocks, or predictions not finite"
        return _gate("not enough evidence", summary, rows=rows, blocks=blocks)
    measured, lower, upper = error(*pair, holdout.blocks, policy)
    result: Result = "not enough evidence"
    if lower > limit:
        result = "fail"
    elif measured <= limit:
        result = "pass"
    return _gate(
        result,
        f"expected calibration error {measured:.4f}",
        rows=rows,
        blocks=blocks,
        measured=measured,
        lower=lower,
        upper=upper,
        limit=limit,
    )


def _gate(result: Result, summary: str, **numbers: float | None) -> Gate:
    return Gate(
        name="calibration",
        group="calibration",
        result=result,
        summary=summary,
        unit="expected calibration error",
        **numbers,  # type: ignore[arg-type]
    )


def error(
    observed: np.ndarray, predicted: np.ndarray, blocks: np.ndarray, policy: PromoteParams
) -> tuple[float, float, float]:
    """The expected calibration error with its interval.

    Args:
        observed: (N,) 0 or 1.
        predicted: (N,) the probability of 1.
        blocks: (N,) block numbers from 0.
        policy: gives the settings of the bootstrap.
    """
    bins = equal_bins(predicted, CALIBRATION_BINS)
    count = int(blocks.max()) + 1
    gaps = by_block(blocks, CALIBRATION_BINS, bins, predicted - observed)
    sizes = np.bincount(blocks).astype(np.float64)
    draws = paired_bootstrap.draw(
        count, resamples=policy.resamples, seed=policy.seed, neighbours=policy.neighbours
    )
    total = (draws.counts @ draws.together(sizes))[:, None]
    measured = gaps.sum(axis=0) / sizes.sum()
    drawn = (draws.counts @ draws.together(gaps)) / total
    reach = float(np.quantile(np.abs(drawn - measured).sum(axis=1), 1 - policy.alpha))
    total_gap = float(np.abs(measured).sum())
    return total_gap, max(total_gap - reach, 0.0), total_gap + reach
