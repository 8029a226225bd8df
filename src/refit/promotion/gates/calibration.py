"""Do the probabilities mean what they say: the expected calibration error on the holdout.

The error is a sum of absolute gaps, so chance alone makes it positive, and resampling adds as much
again. By the triangle inequality it is no further from the true one than the sum of the gaps' own
errors; the bootstrap's distribution of that sum gives an interval that is wide, but never claims a
fault that is chance.
"""

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion.gate import Gate, Result
from refit.promotion.policy import PromoteParams
from refit.promotion.scoring import Scored
from refit.tasks.statistics import CALIBRATION_BINS, by_block, equal_bins


def gate(case: Scored, policy: PromoteParams) -> Gate:
    """Proven above the limit fails; above it without proof is not enough evidence."""
    rows, limit = len(case.holdout.target), policy.calibration_limit
    pair = case.task.calibrated(case.holdout.target, case.holdout.own)
    if pair is None:
        said = f"does not apply: a {case.task.name} task predicts no probability"
        return _gate("pass", said, rows=rows)
    blocks = len(np.unique(case.holdout.blocks))
    if blocks < FEWEST_BLOCKS or not np.isfinite(case.holdout.own).all():
        said = f"not measured: {rows:,} rows in {blocks} blocks, or no finite predictions"
        return _gate("not enough evidence", said, rows=rows, blocks=blocks)
    measured, lower, upper = error(*pair, case.holdout.blocks, policy)
    said = f"expected calibration error {measured:.4f}"
    result: Result = "fail" if lower > limit else "pass" if measured <= limit else UNSURE
    return _gate(
        result,
        said,
        rows=rows,
        blocks=blocks,
        measured=measured,
        lower=lower,
        upper=upper,
        limit=limit,
    )


UNSURE: Result = "not enough evidence"


def _gate(result: Result, said: str, **numbers: float | None) -> Gate:
    return Gate(
        name="calibration",
        group="calibration",
        result=result,
        said=said,
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
        policy: its bootstrap.
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
    found = float(np.abs(measured).sum())
    return found, max(found - reach, 0.0), found + reach
