"""Sums by block, from which metrics of any resample of blocks follow without seeing rows again.

Everything that is a sum over rows is summed by block once. Only ranking metrics look at the rows
again, already sorted, with the block's count as weight.
"""

from collections.abc import Callable

import numpy as np

CALIBRATION_BINS = 15
"""Bins of the expected calibration error, of equal numbers of rows."""
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
    """ROC AUC and average precision, rows sorted once by falling prediction."""

    def __init__(self, positive: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> None:
        order = np.argsort(-prediction, kind="stable")
        self.blocks = blocks[order]
        self.positive = positive[order].astype(np.int64)
        ranked = prediction[order]
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))

    def __call__(self, counts: np.ndarray) -> tuple[float | None, float | None]:
        """Both areas under the block counts; ties share a threshold; None with one class."""
        weight = counts[self.blocks]
        true = np.cumsum(weight * self.positive)[self.ends]
        all_ = np.cumsum(weight)[self.ends]
        positives, negatives = int(true[-1]), int(all_[-1] - true[-1])
        if not positives or not negatives:
            return None, None
        true_before = np.concatenate([[0], true[:-1]])
        false_step = np.diff(all_ - true, prepend=0)
        area = float((false_step * (true + true_before)).sum()) / 2 / positives / negatives
        precision = true / np.maximum(all_, 1)
        average = float(((true - true_before) * precision).sum()) / positives
        return area, average


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
