"""Do the probabilities mean what they say: the expected calibration error on the holdout.

The error is a sum of absolute gaps, so chance alone makes it positive, and resampling adds as much
again. By the triangle inequality it is no further from the true one than the sum of the gaps' own
errors; the bootstrap's distribution of that sum gives an interval that is wide, but never claims a
fault that is chance.
"""

import numpy as np

from refit.evaluation import metrics, paired_bootstrap
from refit.promotion.gate import Gate, Result
from refit.promotion.policy import PromoteParams
from refit.promotion.scoring import Part, Scored


def gate(case: Scored, policy: PromoteParams) -> Gate:
    """Proven above the limit fails; above it without proof is not enough evidence."""
    rows, limit = len(case.holdout.target), policy.calibration_limit
    if case.task == "regression":
        return _gate("pass", "does not apply: a regression predicts no probability", rows=rows)
    blocks = len(np.unique(case.holdout.blocks))
    if blocks < paired_bootstrap.FEWEST_BLOCKS or not np.isfinite(case.holdout.own).all():
        said = f"not measured: {rows:,} rows in {blocks} blocks, or no finite predictions"
        return _gate("not enough evidence", said, rows=rows, blocks=blocks)
    measured, lower, upper = error(case.holdout, policy)
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


def error(part: Part, policy: PromoteParams) -> tuple[float, float, float]:
    """The candidate's expected calibration error with its interval."""
    observed, predicted = part.target.astype(np.float64), part.own
    if predicted.ndim > 1:
        observed = (predicted.argmax(axis=1) == part.target).astype(np.float64)
        predicted = predicted.max(axis=1)
    bins = metrics.equal_bins(predicted, metrics.ECE_BINS)
    count = int(part.blocks.max()) + 1
    flat = part.blocks * metrics.ECE_BINS + bins
    gaps = np.bincount(flat, predicted - observed, count * metrics.ECE_BINS).reshape(count, -1)
    sizes = np.bincount(part.blocks).astype(np.float64)
    draws = paired_bootstrap.draw(
        count, resamples=policy.resamples, seed=policy.seed, neighbours=policy.neighbours
    )
    total = (draws.counts @ draws.together(sizes))[:, None]
    measured = gaps.sum(axis=0) / sizes.sum()
    drawn = (draws.counts @ draws.together(gaps)) / total
    reach = float(np.quantile(np.abs(drawn - measured).sum(axis=1), 1 - policy.alpha))
    found = float(np.abs(measured).sum())
    return found, max(found - reach, 0.0), found + reach
