"""Paired comparison of two models on the same rows, by a bootstrap over blocks of time.

The difference of the two losses is taken row by row, so that what makes a row hard for both
cancels; whole blocks are resampled, because rows of a block depend on each other (a bootstrap over
rows calls a mere change of seed significant). Where neighbouring blocks depend on each other too,
`neighbours` successive ones are drawn together from a circle: the moving block bootstrap of Künsch
("The Jackknife and the Bootstrap for General Stationary Observations", 1989) in the circular form
of Politis and Romano ("A Circular Block-Resampling Procedure for Stationary Data", 1992).

The interval is the bootstrap-t (Hall, "Theoretical Comparison of Bootstrap Confidence Intervals",
1988; for moving blocks Götze and Künsch, "Second-Order Correctness of the Blockwise Bootstrap for
Stationary Observations", 1996). Plain percentiles are too narrow with few blocks, and shifted where
a few days decide the difference.

Resampling days says what other days would show of these two models. It does not say what another
seed would have made of the same rows: that noise is a normal error, added in quadrature.
"""

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better the challenger is, in units of the loss; NaN where nothing was measured."""

    difference: float
    """Mean loss of the champion less that of the challenger: positive, the challenger is better."""
    lower: float
    upper: float
    rows: int
    blocks: int
    """That are drawn independently of each other."""
    minimum_detectable: float
    """The smallest true difference that this holdout would show four times in five."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Blocks drawn with replacement, `span` neighbours at a time."""

    counts: np.ndarray
    """(R, B) float64: how often the run of blocks that begins at each block was drawn."""
    span: int

    @cached_property
    def shares(self) -> int:
        """Independent runs of blocks in each resample."""
        return int(self.counts[0].sum())

    def together(self, sums: np.ndarray) -> np.ndarray:
        """(B, ...) each block's sum with those of its next `span` - 1 neighbours, in a circle."""
        joined = sums
        for step in range(1, self.span):
            joined = joined + np.roll(sums, -step, axis=0)
        return joined


def draw(blocks: int, *, resamples: int, seed: int, neighbours: int = 1) -> Draws:
    """Draw as many blocks as there are, `neighbours` together.

    Args:
        blocks: how many there are.
        resamples: how often.
        seed: of NumPy's PCG64.
        neighbours: drawn together; at most as many as there are blocks.
    """
    span = min(neighbours, blocks)
    generator = np.random.Generator(np.random.PCG64(seed))
    picked = generator.integers(0, blocks, size=(resamples, max(blocks // span, 1)))
    flat = picked + np.arange(resamples)[:, None] * blocks
    counts = np.bincount(flat.ravel(), minlength=resamples * blocks).reshape(resamples, blocks)
    return Draws(counts=counts.astype(np.float64), span=span)


@dataclass(frozen=True, kw_only=True)
class Means:
    """Means of S quantities with their standard errors, and both again in each resample."""

    mean: np.ndarray
    """(S,)"""
    error: np.ndarray
    """(S,) standard error of the mean, over blocks."""
    means: np.ndarray
    """(R, S) of the resamples; NaN where none of the rows was drawn."""
    errors: np.ndarray
    """(R, S)"""

    @cached_property
    def pivots(self) -> np.ndarray:
        """(R, S) each resample's distance from the mean in its own standard errors.

        Infinite with the distance's sign where a resample has no spread, plus infinity where it
        has no rows.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            found: np.ndarray = (self.means - self.mean) / self.errors
        same = (self.means == self.mean) & (self.errors == 0)
        return np.where(same, 0.0, np.where(np.isnan(found), np.inf, found))


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
        again = (draws.counts @ joined) / drawn
        # The sum over drawn runs of (joined - again * counted)^2, multiplied out.
        squares = (
            draws.counts @ joined**2
            - 2 * again * (draws.counts @ (joined * counted))
            + again**2 * (draws.counts @ counted**2)
        )
        rounding = 1e-12 * (draws.counts @ joined**2)
        errors = np.sqrt(np.where(squares > rounding, squares, 0)) / drawn
    return Means(mean=mean, error=error, means=again, errors=errors)


def by_block(blocks: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """(B, 1) the sum of the values of each block, or its rows."""
    return np.bincount(blocks, weights=values).astype(np.float64)[:, None]


def paired(
    challenger: np.ndarray,
    champion: np.ndarray,
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
        challenger: (N,) loss of each row.
        champion: (N,) loss of the same rows.
        blocks: (N,) block numbers from 0 without gaps.
        resamples: bootstrap samples.
        confidence: of the interval.
        seed: of NumPy's PCG64.
        neighbours: successive blocks drawn together.
        noise: standard deviation of the difference over other seeds, in units of the loss.
        minimum_effect: that a gain must reach; only the minimum detectable effect depends on it.
    """
    if not len(challenger) == len(champion) == len(blocks) > 0:
        raise ValueError("losses and blocks must be of the same rows, at least one")
    sums, sizes = by_block(blocks, champion - challenger), by_block(blocks)
    draws = draw(len(sizes), resamples=resamples, seed=seed, neighbours=neighbours)
    found = means(sums, sizes, draws)
    tail = (1 - confidence) / 2
    low, high = interval(found, tail)
    difference = float(found.mean[0])
    lasting = NormalDist().inv_cdf(1 - tail) * noise
    below = float(np.hypot(difference - low, lasting))
    spare = NormalDist().inv_cdf(POWER) * float(np.hypot(found.means[:, 0].std(), noise))
    return Comparison(
        difference=difference,
        lower=difference - below,
        upper=difference + float(np.hypot(high - difference, lasting)),
        rows=len(blocks),
        blocks=draws.shares,
        minimum_detectable=max(below, minimum_effect) + spare,
    )


def unmeasured(rows: int, blocks: int) -> Comparison:
    """What stands for a comparison that could not be made."""
    nan = float("nan")
    return Comparison(
        difference=nan, lower=nan, upper=nan, rows=rows, blocks=blocks, minimum_detectable=nan
    )


def interval(found: Means, tail: float) -> tuple[float, float]:
    """Bootstrap-t bounds of the first mean; percentiles where a resample has no spread."""
    if not found.errors[:, 0].all():
        lower, upper = np.quantile(found.means[:, 0], [tail, 1 - tail])
        return float(lower), float(upper)
    low, high = np.quantile(found.pivots[:, 0], [tail, 1 - tail])
    mean, error = float(found.mean[0]), float(found.error[0])
    return mean - float(high) * error, mean - float(low) * error
