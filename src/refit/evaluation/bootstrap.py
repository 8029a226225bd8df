"""Metrics with intervals by a bootstrap over blocks of time.

The rows of a day depend on each other, so an interval that resamples rows is far too narrow. Whole
blocks are drawn with replacement instead (Künsch, "The Jackknife and the Bootstrap for General
Stationary Observations", 1989, with disjoint blocks). The interval is made of the percentiles of
the resampled metrics.
"""

from dataclasses import dataclass

import numpy as np

from refit.evaluation.time_blocks import require_memory
from refit.tasks.task import Scores, Task


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A metric with the percentile interval of its resamples; None where it is not defined."""

    value: float | None
    lower: float | None
    upper: float | None


def score(task: Task, target: np.ndarray, prediction: np.ndarray) -> Scores:
    """The task's metrics on all rows; None where a metric is not defined."""
    one_block = np.zeros(len(target), np.int64)
    return task.scorer(target, prediction, one_block)(np.ones((1, 1), np.int64))[0]


def bootstrap(
    task: Task,
    target: np.ndarray,
    prediction: np.ndarray,
    blocks: np.ndarray,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    """Every metric with its interval.

    Args:
        task: gives the metrics.
        target: (N,).
        prediction: (N,) or (N, K) float64.
        blocks: (N,) block numbers from 0 without gaps.
        resamples: number of resamples, each of as many blocks as there are.
        confidence: share of the resamples inside the interval.
        seed: of NumPy's PCG64.
    """
    scores = task.scorer(target, prediction, blocks)
    count = int(blocks.max()) + 1
    all_once = np.ones((1, count), np.int64)
    values, *resampled = scores(np.concatenate([all_once, draws(count, resamples, seed)]))
    return {
        name: Interval(value=value, **_percentiles([each[name] for each in resampled], confidence))
        for name, value in values.items()
    }


def draws(blocks: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples, blocks) int64: how often each resample draws each block."""
    require_memory(blocks, resamples, parameter="evaluate.resamples")
    generator = np.random.Generator(np.random.PCG64(seed))
    picked = generator.integers(0, blocks, size=(resamples, blocks))
    rows = np.arange(resamples)[:, None] * blocks
    return np.bincount((picked + rows).ravel(), minlength=resamples * blocks).reshape(
        resamples, blocks
    )


def _percentiles(values: list[float | None], confidence: float) -> dict[str, float | None]:
    defined = [value for value in values if value is not None]
    if not defined:
        return {"lower": None, "upper": None}
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(defined, [tail, 1 - tail])
    return {"lower": float(lower), "upper": float(upper)}
