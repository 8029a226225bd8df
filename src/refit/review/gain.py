"""How much better a version is than its rival, in the loss that decides."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.review.estimate import Estimate
from refit.review.pair import Pair


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """How two versions are compared: these fields of the policy."""

    metric: str
    """The row-wise loss; empty if neither a decision nor a signature is kept."""
    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0
    neighbours: int = 1
    seed_deviation: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much smaller the version's loss is than that of its rival."""

    metric: str
    rival: str
    estimate: Estimate
    minimum_effect: float | None
    minimum_detectable: float | None
    rows: int
    blocks: int
    confidence: float


def recorded(evidence: Mapping[str, Any]) -> Gain:
    """The gain that a decision recorded."""
    return Gain(
        metric=evidence["metric"],
        rival=evidence["rival"],
        estimate=Estimate(
            value=evidence["difference"], lower=evidence["lower"], upper=evidence["upper"]
        ),
        minimum_effect=evidence["minimum_effect"],
        minimum_detectable=evidence["minimum_detectable"],
        rows=evidence["rows"],
        blocks=evidence["blocks"],
        confidence=evidence["confidence"],
    )


def measured(pair: Pair, comparing: Comparing) -> Gain:
    """The gain of one version over another, without a decision."""
    rows, blocks = pair.size
    noise = comparing.seed_deviation * math.sqrt(2)  # another seed might have made either model
    return Gain(
        metric=comparing.metric,
        rival=pair.labels[1],
        estimate=paired(pair.row_losses(comparing.metric), pair.blocks, comparing, noise),
        minimum_effect=None,
        minimum_detectable=None,
        rows=rows,
        blocks=blocks,
        confidence=comparing.confidence,
    )


def paired(
    losses: np.ndarray, blocks: np.ndarray, comparing: Comparing, noise: float = 0.0
) -> Estimate:
    """How much smaller the version's loss is, by the comparison that decides.

    Args:
        losses: (2, N) of the version and of its rival.
        blocks: (N,) block numbers.
        comparing: how to compare.
        noise: standard deviation of the difference over other seeds.

    Returns:
        An estimate without bounds if there are too few blocks for an interval.
    """
    comparison = paired_bootstrap.paired(
        losses[0],
        losses[1],
        np.unique(blocks, return_inverse=True)[1],
        resamples=comparing.resamples,
        confidence=comparing.confidence,
        seed=comparing.seed,
        neighbours=comparing.neighbours,
        noise=noise,
    )
    if comparison.blocks < FEWEST_BLOCKS:
        return Estimate(value=comparison.difference)
    return Estimate(value=comparison.difference, lower=comparison.lower, upper=comparison.upper)


def sentence(version: str, rival: str, gain: Gain | None, reason: str) -> str:
    """What a comparison of two versions shows, in one sentence.

    Args:
        version: its label.
        rival: its label.
        gain: what was measured.
        reason: why nothing was measured, where `gain` is None.
    """
    subject = version.capitalize()
    if gain is None or gain.estimate.value is None:
        return f"{subject} and {rival} cannot be compared row by row: {reason}."
    value, lower, upper = gain.estimate.value, gain.estimate.lower, gain.estimate.upper
    where = f"on {gain.rows:,} rows in {gain.blocks} blocks that both were scored on"
    if lower is None or upper is None:
        return (
            f"{subject} differs from {rival} by {value:+.5f} {gain.metric} {where},"
            f" too few blocks for an interval (fewer than {FEWEST_BLOCKS})."
        )
    if lower > 0:
        verdict = f"better than {rival}"
    elif upper < 0:
        verdict = f"worse than {rival}"
    else:
        verdict = f"not shown to differ from {rival}"
    return (
        f"{subject} is {verdict}: {gain.metric} smaller by {value:.5f}"
        f" [{lower:.5f}, {upper:.5f}] {where}."
    )
