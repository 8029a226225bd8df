"""Paired comparison of two models on the same rows, by a bootstrap over blocks of time.

The difference of the two losses is taken row by row, so that what makes a row hard for both
cancels; whole blocks are resampled, because rows of a block depend on each other (a bootstrap over
rows calls a mere change of seed significant). Source: Künsch (1989), disjoint blocks.

The interval is the bootstrap-t (Hall, "Theoretical Comparison of Bootstrap Confidence Intervals",
1988). Plain percentiles are too narrow with few blocks, and shifted where a few days decide the
difference. What neither allows for is that neighbouring blocks resemble each other: where they do,
choose longer blocks.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from refit.judging.gate import Result
from refit.metrics import draws

FEWEST_BLOCKS = 10
"""With fewer blocks the percentiles are too narrow to decide anything."""
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better the challenger is, in units of the loss."""

    difference: float
    """Mean loss of the champion less that of the challenger: positive, the challenger is better."""
    lower: float
    upper: float
    rows: int
    blocks: int
    minimum_detectable: float
    """The smallest true difference that this holdout would show four times in five."""


def paired(
    challenger: np.ndarray,
    champion: np.ndarray,
    blocks: np.ndarray,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> Comparison:
    """Compare losses row by row.

    Args:
        challenger: (N,) loss of each row.
        champion: (N,) loss of the same rows.
        blocks: (N,) block numbers from 0 without gaps.
        resamples: bootstrap samples.
        confidence: of the interval.
        seed: of NumPy's PCG64.
    """
    if not len(challenger) == len(champion) == len(blocks) > 0:
        raise ValueError("losses and blocks must be of the same rows, at least one")
    sums = np.bincount(blocks, weights=champion - challenger)
    sizes = np.bincount(blocks)
    counts = draws(len(sizes), resamples, seed)
    means = (counts * sums).sum(axis=1) / (counts * sizes).sum(axis=1)
    tail = (1 - confidence) / 2
    lower, upper = _interval(sums, sizes, counts, tail)
    reach = NormalDist().inv_cdf(1 - tail) + NormalDist().inv_cdf(POWER)
    return Comparison(
        difference=float(sums.sum()) / int(sizes.sum()),
        lower=float(lower),
        upper=float(upper),
        rows=len(blocks),
        blocks=len(sizes),
        minimum_detectable=float(reach * means.std()),
    )


def _interval(
    sums: np.ndarray, sizes: np.ndarray, counts: np.ndarray, tail: float
) -> tuple[float, float]:
    """Bootstrap-t bounds of sum(sums) / sum(sizes); percentiles where a resample has no spread."""
    mean = sums.sum() / sizes.sum()
    error = np.sqrt(((sums - mean * sizes) ** 2).sum()) / sizes.sum()
    drawn = (counts * sizes).sum(axis=1)
    means = (counts * sums).sum(axis=1) / drawn
    # A row of residuals for each resample: sums - that resample's mean * sizes.
    residuals = sums - means[:, None] * sizes
    errors = np.sqrt((counts * residuals**2).sum(axis=1)) / drawn
    if not errors.all():
        lower, upper = np.quantile(means, [tail, 1 - tail])
        return float(lower), float(upper)
    low, high = np.quantile((means - mean) / errors, [tail, 1 - tail])
    return float(mean - high * error), float(mean - low * error)


def verdict(comparison: Comparison, minimum_effect: float) -> Result:
    """What the comparison proves.

    pass: the gain is real (the interval lies above zero) and large enough to matter.
    fail: the gain is shown to be smaller than what matters (the interval lies below it).
    not enough evidence: anything else, and any comparison on too few blocks.
    """
    if comparison.blocks < FEWEST_BLOCKS:
        return "not enough evidence"
    if comparison.lower > 0 and comparison.difference >= minimum_effect:
        return "pass"
    if comparison.upper < minimum_effect:
        return "fail"
    return "not enough evidence"
