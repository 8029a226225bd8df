"""Paired comparison of two models on the same rows, by a bootstrap over blocks of time.

The difference of the two losses is taken row by row, so that what makes a row hard for both models
cancels. Whole blocks are resampled, because the rows of a block depend on each other: a bootstrap
over rows calls a mere change of seed significant. Where neighbouring blocks depend on each other
too, `neighbours` successive blocks are drawn together from a circle. This is the moving block
bootstrap of Künsch ("The Jackknife and the Bootstrap for General Stationary Observations", 1989) in
the circular form of Politis and Romano ("A Circular Block-Resampling Procedure for Stationary
Data", 1992).

The interval is the bootstrap-t (Hall, "Theoretical Comparison of Bootstrap Confidence Intervals",
1988; for moving blocks Götze and Künsch, "Second-Order Correctness of the Blockwise Bootstrap for
Stationary Observations", 1996). Plain percentiles are too narrow with few blocks, and biased where
a few days decide the difference.

Resampled days show how the difference of these two models varies with the days. They do not show
how it varies with the seed of a training. That noise is added in quadrature as a normal error.
"""

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from refit.evaluation.time_blocks import require_memory

POWER = 0.8
"""Chance that a true gain of the minimum detectable effect is proven."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better the candidate is, in units of the loss; NaN where nothing was measured."""

    difference: float
    """Mean loss of the rival minus that of the candidate: above 0, the candidate is better."""
    lower: float
    upper: float
    rows: int
    blocks: int
    """Number of blocks that are drawn independently of each other."""
    minimum_detectable: float
    """The smallest true difference that this holdout would prove four times in five."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Blocks drawn with replacement, `span` neighbours at a time."""

    counts: np.ndarray
    """(R, B) float64: how often each resample drew the run of blocks that begins at each block."""
    span: int
    """Successive blocks in a run."""

    @cached_property
    def runs(self) -> int:
        """Independent runs of blocks in each resample."""
        return int(self.counts[0].sum())

    def together(self, sums: np.ndarray) -> np.ndarray:
        """(B, ...) the sum over each block and its next `span` - 1 neighbours, in a circle."""
        joined = sums
        for step in range(1, self.span):
            joined = joined + np.roll(sums, -step, axis=0)
        return joined


def draw(blocks: int, *, resamples: int, seed: int, neighbours: int = 1) -> Draws:
    """Draw as many blocks as there are, `neighbours` at a time.

    Args:
        blocks: number of blocks.
        resamples: number of resamples.
        seed: of NumPy's PCG64.
        neighbours: successive blocks drawn together; at most the number of blocks is used.
    """
    require_memory(blocks, resamples, parameter="promote.resamples")
    span = min(neighbours, blocks)
    generator = np.random.Generator(np.random.PCG64(seed))
    picked = generator.integers(0, blocks, size=(resamples, max(blocks // span, 1)))
    flat = picked + np.arange(resamples)[:, None] * blocks
    counts = np.bincount(flat.ravel(), minlength=resamples * blocks).reshape(resamples, blocks)
    return Draws(counts=counts.astype(np.float64), span=span)


@dataclass(frozen=True, kw_only=True)
class Means:
    """Means of S quantities with their standard errors, of the data and of each resample."""

    mean: np.ndarray
    """(S,)"""
    error: np.ndarray
    """(S,) standard error of the mean, over blocks."""
    means: np.ndarray
    """(R, S) means of the resamples; NaN where no row was drawn."""
    errors: np.ndarray
    """(R, S) standard errors of the resamples."""

    @cached_property
    def pivots(self) -> np.ndarray:
        """(R, S) the distance of each resample's mean from the mean, in the resample's errors.

        It is infinite, with the sign of the distance, where a resample has no spread, and plus
        infinity where a resample has no rows.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            pivots: np.ndarray = (self.means - self.mean) / self.errors
        same = (self.means == self.mean) & (self.errors == 0)
        return np.where(same, 0.0, np.where(np.isnan(pivots), np.inf, pivots))


def means(sums: np.ndarray, sizes: np.ndarray, draws: Draws) -> Means:
    """The ratios sum(sums) / sum(sizes) and their resamples.

    Args:
        sums: (B, S) of a quantity over the rows of each block.
        sizes: (B, S) rows of each block.
        draws: of the B blocks.
    """
    joined, counted = draws.together(sums), draws.together(sizes)
    total = sizes.sum(axis=0)
    mean = sums.sum(axis=0) / total
    error = np.sqrt(((joined - mean * counted) ** 2).sum(axis=0) / draws.span) / total
    drawn = draws.counts @ counted
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = (draws.counts @ joined) / drawn
        # The sum over drawn runs of (joined - resampled * counted)^2, multiplied out.
        squares = (
            draws.counts @ joined**2
            - 2 * resampled * (draws.counts @ (joined * counted))
            + resampled**2 * (draws.counts @ counted**2)
        )
        rounding = 1e-12 * (draws.counts @ joined**2)
        errors = np.sqrt(np.where(squares > rounding, squares, 0)) / drawn
    return Means(mean=mean, error=error, means=resampled, errors=errors)


def by_block(blocks: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """(B, 1) the sum of the values (N,) in each block; without values, the rows of each block."""
    return np.bincount(blocks, weights=values).astype(np.float64)[:, None]


def paired(
    candidate: np.ndarray,
    rival: np.ndarray,
    blocks: np.ndarray,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    neighbours: int = 1,
    noise: float = 0.0,
    minimum_effect: float = 0.0,
) -> Comparison:
    """Compare losses row by row.

    Args:
        candidate: (N,) the candidate's loss of each row.
        rival: (N,) the rival's loss of the same rows.
        blocks: (N,) block numbers from 0 without gaps.
        resamples: number of resamples.
        confidence: of the interval.
        seed: of NumPy's PCG64.
        neighbours: successive blocks drawn together.
        noise: standard deviation of the difference over seeds of training, in units of the loss.
        minimum_effect: smallest gain that matters; only `minimum_detectable` depends on it.
    """
    if not len(candidate) == len(rival) == len(blocks) > 0:
        raise ValueError("losses and blocks must be of the same rows, at least one")
    sums, sizes = by_block(blocks, rival - candidate), by_block(blocks)
    draws = draw(len(sizes), resamples=resamples, seed=seed, neighbours=neighbours)
    mean = means(sums, sizes, draws)
    tail = (1 - confidence) / 2
    low, high = interval(mean, tail)
    difference = float(mean.mean[0])
    seed_error = NormalDist().inv_cdf(1 - tail) * noise
    below = float(np.hypot(difference - low, seed_error))
    spare = NormalDist().inv_cdf(POWER) * float(np.hypot(mean.means[:, 0].std(), noise))
    return Comparison(
        difference=difference,
        lower=difference - below,
        upper=difference + float(np.hypot(high - difference, seed_error)),
        rows=len(blocks),
        blocks=draws.runs,
        minimum_detectable=max(below, minimum_effect) + spare,
    )


def unmeasured(rows: int, blocks: int) -> Comparison:
    """The comparison where nothing could be compared."""
    nan = float("nan")
    return Comparison(
        difference=nan, lower=nan, upper=nan, rows=rows, blocks=blocks, minimum_detectable=nan
    )


def interval(of: Means, tail: float) -> tuple[float, float]:
    """Bootstrap-t bounds of the first mean; percentiles where a resample has no spread."""
    if not of.errors[:, 0].all():
        lower, upper = np.quantile(of.means[:, 0], [tail, 1 - tail])
        return float(lower), float(upper)
    low, high = np.quantile(of.pivots[:, 0], [tail, 1 - tail])
    mean, error = float(of.mean[0]), float(of.error[0])
    return mean - float(high) * error, mean - float(low) * error
