"""Several hypotheses at once, without the caution of treating them as strangers.

Romano and Wolf, "Exact and Approximate Stepdown Methods for Multiple Hypothesis Testing" (2005):
the largest statistic is held against the resampled maximum of all, the next against that of those
that are left, and so on. The chance that any true hypothesis is rejected stays at the level, as
with Holm's method, and since the resamples know how the hypotheses depend on each other, no
adjusted p-value is larger than Holm's.
"""

from dataclasses import dataclass

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.promotion.policy import PromoteParams


@dataclass(frozen=True, kw_only=True)
class Tested:
    """S means held against their limits together; each field is (S,)."""

    mean: np.ndarray
    lower: np.ndarray
    """Of each mean by itself."""
    upper: np.ndarray
    limit: np.ndarray
    statistic: np.ndarray
    """Standard errors above the limit."""
    p: np.ndarray
    """One-sided, adjusted for their number: small where a mean is proven above its limit."""


def test(sums: np.ndarray, sizes: np.ndarray, limit: np.ndarray, policy: PromoteParams) -> Tested:
    """Test which means lie above their limits.

    Args:
        sums: (B, S) of S quantities over the rows of each block.
        sizes: (B, S) rows of each block.
        limit: (S,) of each mean.
        policy: its resamples, seed, neighbours and confidence.
    """
    draws = paired_bootstrap.draw(
        len(sums), resamples=policy.resamples, seed=policy.seed, neighbours=policy.neighbours
    )
    found = paired_bootstrap.means(sums, sizes, draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.nan_to_num((found.mean - limit) / found.error, nan=0.0)
    # Order statistics, for between a finite and an infinite one nothing can be interpolated.
    low, high = np.quantile(
        found.pivots, [policy.alpha, 1 - policy.alpha], axis=0, method="inverted_cdf"
    )
    return Tested(
        mean=found.mean,
        lower=found.mean - high * found.error,
        upper=found.mean - low * found.error,
        limit=limit,
        statistic=statistic,
        p=adjusted(statistic, found.pivots),
    )


def adjusted(statistics: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """(S,) the adjusted one-sided p-values of large statistics.

    Args:
        statistics: (S,) each hypothesis's distance from its limit, in standard errors.
        pivots: (R, S) the same in each resample, around its own mean.
    """
    order = np.argsort(-statistics, kind="stable")
    # Column i: the largest pivot among the hypotheses from the i-th on.
    largest = np.maximum.accumulate(pivots[:, order][:, ::-1], axis=1)[:, ::-1]
    reached = (largest >= statistics[order]).sum(axis=0)
    stepwise = np.maximum.accumulate((1 + reached) / (1 + len(pivots)))
    found = np.empty(len(statistics))
    found[order] = stepwise
    return found
