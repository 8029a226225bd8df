"""Tests several hypotheses together and uses how they depend on each other.

Romano and Wolf, "Exact and Approximate Stepdown Methods for Multiple Hypothesis Testing" (2005):
the largest statistic is compared with the resampled maximum of all, the next one with the maximum
of those that are left, and so on. The chance that any true hypothesis is rejected stays at the
level, as with Holm's method. The resamples contain the dependence between the hypotheses, so no
adjusted p-value is larger than Holm's.
"""

from dataclasses import dataclass

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.promotion.policy import PromoteParams


@dataclass(frozen=True, kw_only=True)
class MeanTests:
    """S means compared with their limits together; each field is (S,)."""

    mean: np.ndarray
    lower: np.ndarray
    """Lower bound of each mean by itself."""
    upper: np.ndarray
    limit: np.ndarray
    statistic: np.ndarray
    """Distance above the limit in standard errors."""
    p: np.ndarray
    """One-sided and adjusted for the number of means: small where a mean is proven above its
    limit."""


def test(
    sums: np.ndarray, sizes: np.ndarray, limit: np.ndarray, policy: PromoteParams
) -> MeanTests:
    """Test which means lie above their limits.

    Args:
        sums: (B, S) sums of S quantities over the rows of each block.
        sizes: (B, S) rows of each block.
        limit: (S,) limit of each mean.
        policy: gives resamples, seed, neighbours and confidence.
    """
    draws = paired_bootstrap.draw(
        len(sums), resamples=policy.resamples, seed=policy.seed, neighbours=policy.neighbours
    )
    means = paired_bootstrap.means(sums, sizes, draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.nan_to_num((means.mean - limit) / means.error, nan=0.0)
    # Order statistics, because nothing can be interpolated between a finite and an infinite one.
    low, high = np.quantile(
        means.pivots, [policy.alpha, 1 - policy.alpha], axis=0, method="inverted_cdf"
    )
    return MeanTests(
        mean=means.mean,
        lower=means.mean - high * means.error,
        upper=means.mean - low * means.error,
        limit=limit,
        statistic=statistic,
        p=adjusted(statistic, means.pivots),
    )


def adjusted(statistics: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """(S,) the adjusted one-sided p-values of large statistics.

    Args:
        statistics: (S,) distance of each mean from its limit, in standard errors.
        pivots: (R, S) the same distance in each resample, from the mean of the data.
    """
    order = np.argsort(-statistics, kind="stable")
    # Column i: the largest pivot among the hypotheses from the i-th on.
    largest = np.maximum.accumulate(pivots[:, order][:, ::-1], axis=1)[:, ::-1]
    exceeding = (largest >= statistics[order]).sum(axis=0)
    stepwise = np.maximum.accumulate((1 + exceeding) / (1 + len(pivots)))
    p = np.empty(len(statistics))
    p[order] = stepwise
    return p
