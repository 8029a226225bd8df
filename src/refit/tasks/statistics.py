"""Sums by block, from which metrics of any resample of blocks follow without seeing rows again.

Everything that is a sum over rows is summed by block once. Ranking metrics look at the rows again,
already sorted, for all resamples together.
"""

from collections.abc import Callable, Iterator

import numpy as np

CALIBRATION_BINS = 15
"""Bins of the expected calibration error, of equal numbers of rows."""
CELLS = 2**20
"""Numbers of one array of a ranking; more would not fit the processor's cache."""
CLIP = 1e-7
"""Probabilities are kept this far from 0 in the log loss: the resolution of float32 near 1."""

BlockMeans = Callable[[np.ndarray], dict[str, float]]


def block_means(blocks: np.ndarray, **rows: np.ndarray) -> BlockMeans:
    """Weighted means of row-wise numbers (N,), from their sums by block."""
    sizes = np.bincount(blocks)
    sums = {name: np.bincount(blocks, weights=values) for name, values in rows.items()}

    def means(counts: np.ndarray) -> dict[str, float]:
        total = int(counts @ sizes)
        return {name: float((counts * values).sum()) / total for name, values in sums.items()}

    return means


class Ranking:
    """ROC AUC and average precision of many resamples, rows sorted once by falling prediction.

    The area under the ROC counts pairs of a positive and a negative row, so its numerator is a
    bilinear form in the block counts. Average precision needs the counts above each positive row
    only. Both are sums of whole numbers, which products of float64 hold exactly below 2**53.
    """

    def __init__(self, positive: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> None:
        order = np.argsort(-prediction, kind="stable")
        ranked = prediction[order]
        self.threshold = np.cumsum(np.append(False, ranked[1:] != ranked[:-1]))
        """(N,) rows with equal predictions share a threshold."""
        self.blocks, self.positive = blocks[order], positive[order].astype(bool)
        self.count = int(blocks.max()) + 1

    def __call__(self, draws: np.ndarray) -> list[tuple[float | None, float | None]]:
        """Both areas under each (blocks,) of the counts (R, blocks); None with one class."""
        drawn = draws.astype(np.float64)
        pairs = np.zeros((self.count, self.count))
        average = np.zeros(len(drawn))
        true, false = np.zeros(self.count), np.zeros(self.count)
        for positive, negative in self._steps(len(drawn)):
            reached = np.cumsum(positive, axis=0) + true
            pairs += negative.T @ (2 * reached - positive)
            passed = np.cumsum(negative, axis=0) + false
            at = positive.any(axis=1)
            hits, called = reached[at] @ drawn.T, (reached[at] + passed[at]) @ drawn.T
            average += ((positive[at] @ drawn.T) * hits / np.maximum(called, 1)).sum(axis=0)
            true, false = reached[-1], passed[-1]
        positives, negatives = drawn @ true, drawn @ false
        doubled = ((drawn @ pairs) * drawn).sum(axis=1)
        return [
            (area / 2 / p / n, total / p) if p and n else (None, None)
            for area, total, p, n in zip(
                *(each.tolist() for each in (doubled, average, positives, negatives)), strict=True
            )
        ]

    def _steps(self, resamples: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positive and negative rows (thresholds, blocks), for a range of thresholds at a time."""
        size = max(1, CELLS // max(resamples, self.count))
        last = int(self.threshold[-1])
        for first in range(0, last + 1, size):
            width = min(size, last + 1 - first)
            rows = slice(*np.searchsorted(self.threshold, (first, first + width)))
            cells = (self.threshold[rows] - first) * self.count + self.blocks[rows]
            positive = self.positive[rows]
            yield self._table(cells[positive], width), self._table(cells[~positive], width)

    def _table(self, cells: np.ndarray, width: int) -> np.ndarray:
        counts = np.bincount(cells, minlength=width * self.count)
        return counts.reshape(width, self.count).astype(np.float64)


class Calibration:
    """Expected calibration error over bins of equal numbers of rows (Naeini et al., 2015)."""

    def __init__(self, target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> None:
        bins = equal_bins(prediction, CALIBRATION_BINS)
        self.gaps = by_block(blocks, CALIBRATION_BINS, bins, prediction - target)
        self.sizes = np.bincount(blocks)

    def __call__(self, counts: np.ndarray) -> float:
        """Sum over bins of |sum of (prediction - target)|, per row."""
        return float(np.abs((counts[:, None] * self.gaps).sum(axis=0)).sum()) / int(
            counts @ self.sizes
        )


def equal_bins(values: np.ndarray, bins: int) -> np.ndarray:
    """(N,) the bin of each value, 0 to bins - 1, about as many rows in each; ties stay together."""
    ordered = np.sort(values)
    edges = ordered[[len(values) * i // bins for i in range(1, bins)]]
    return np.searchsorted(edges, values, side="right")


def by_block(
    blocks: np.ndarray, width: int, cells: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """(blocks, width) counts, or sums of weights, of each cell in each block."""
    count = int(blocks.max()) + 1
    flat = np.bincount(blocks * width + cells, weights=weights, minlength=count * width)
    return flat.reshape(count, width)


def log_losses(probability: np.ndarray) -> np.ndarray:
    """(N,) the log loss of the probability that was given to what happened."""
    losses: np.ndarray = -np.log(np.clip(probability, CLIP, 1.0))
    return losses


def weighted_median(ordered: np.ndarray, weights: np.ndarray) -> float:
    """The median of sorted values (N,) that count as often as their weights (N,) say."""
    reached = np.cumsum(weights)
    middle = [np.searchsorted(reached, reached[-1] / 2, side) for side in ("left", "right")]
    return float(ordered[middle].mean())
