"""Metrics of predictions, and their intervals by a bootstrap over blocks of time.

Rows of one day share their weather and their queues, so an interval that resamples rows is far too
narrow. Whole blocks are drawn with replacement instead (Künsch, "The Jackknife and the Bootstrap
for General Stationary Observations", 1989, with disjoint blocks), and the percentiles of the
resampled metrics are the interval. Everything that is a sum over rows is summed by block once;
only ranking metrics look at the rows again, already sorted, with the block's count as weight.

Targets are (N,): 0/1, class numbers, or values. Predictions are float64: (N,) probabilities, (N, K)
probabilities, or (N,) values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refit.dataset import Task

Scores = dict[str, float | None]

ECE_BINS = 15
"""Bins of the expected calibration error, of equal numbers of rows."""
CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1 in the log loss: float32's resolution near 1."""

HIGHER_IS_BETTER = frozenset({"roc_auc", "pr_auc", "accuracy", "macro_f1", "macro_roc_auc", "r2"})
PRIMARY: dict[Task, str] = {
    "binary": "log_loss",
    "multiclass": "log_loss",
    "regression": "squared_error",
}
"""The row-wise loss that each task is judged by where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A metric with the percentile interval of its resamples; None where it is not defined."""

    value: float | None
    lower: float | None
    upper: float | None


def score(task: Task, target: np.ndarray, prediction: np.ndarray) -> Scores:
    """The task's metrics on all rows; None where a metric is not defined (one class alone)."""
    one_block = np.zeros(len(target), np.int64)
    return scorer(task, target, prediction, one_block)(np.ones(1, np.int64))


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
        task: binary, multiclass or regression.
        target: (N,).
        prediction: (N,) or (N, K).
        blocks: (N,) block numbers from 0 without gaps.
        resamples: draws of as many blocks as there are.
        confidence: share of the resamples inside the interval.
        seed: of NumPy's PCG64.
    """
    scored = scorer(task, target, prediction, blocks)
    count = int(blocks.max()) + 1
    whole = scored(np.ones(count, np.int64))
    drawn = [scored(counts) for counts in draws(count, resamples, seed)]
    return {
        name: Interval(value=value, **_percentiles([d[name] for d in drawn], confidence))
        for name, value in whole.items()
    }


def draws(blocks: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples, blocks) how often each block is drawn in each resample."""
    generator = np.random.Generator(np.random.PCG64(seed))
    picked = generator.integers(0, blocks, size=(resamples, blocks))
    rows = np.arange(resamples)[:, None] * blocks
    return np.bincount((picked + rows).ravel(), minlength=resamples * blocks).reshape(
        resamples, blocks
    )


def losses(name: str, task: Task, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(N,) the loss of each row: log_loss, brier, squared_error or absolute_error."""
    found: np.ndarray
    if (name, task) in {("squared_error", "regression"), ("brier", "binary")}:
        found = (prediction - target) ** 2
    elif name == "absolute_error" and task == "regression":
        found = np.abs(prediction - target)
    elif name == "log_loss" and task != "regression":
        found = -np.log(np.clip(_of_truth(task, target, prediction), CLIP, 1.0))
    elif name == "brier" and task == "multiclass":
        truth = np.eye(prediction.shape[1])[target.astype(np.int64)]
        found = ((prediction - truth) ** 2).sum(axis=1)
    else:
        raise ValueError(f"{name} is no row-wise loss of a {task} task")
    return found


def scorer(
    task: Task, target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray
) -> Callable[[np.ndarray], Scores]:
    """A function from block counts (how often each block was drawn) to the task's metrics."""
    made = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[task]
    return made(target, prediction, blocks)


def _binary(
    target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray
) -> Callable[[np.ndarray], Scores]:
    means = _means(
        blocks,
        log_loss=losses("log_loss", "binary", target, prediction),
        brier=losses("brier", "binary", target, prediction),
        prevalence=target.astype(np.float64),
    )
    ranking = _Ranking(target, prediction, blocks)
    calibration = _Calibration(target, prediction, blocks)

    def scores(counts: np.ndarray) -> Scores:
        roc_auc, pr_auc = ranking(counts)
        return {"roc_auc": roc_auc, "pr_auc": pr_auc, "ece": calibration(counts)} | means(counts)

    return scores


def _multiclass(
    target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray
) -> Callable[[np.ndarray], Scores]:
    classes = prediction.shape[1]
    truth, chosen = target.astype(np.int64), prediction.argmax(axis=1)
    correct = (truth == chosen).astype(np.float64)
    means = _means(
        blocks,
        log_loss=losses("log_loss", "multiclass", target, prediction),
        brier=losses("brier", "multiclass", target, prediction),
        accuracy=correct,
    )
    confusion = _by_block(blocks, classes**2, truth * classes + chosen)
    rankings = [_Ranking(truth == k, prediction[:, k], blocks) for k in range(classes)]
    calibration = _Calibration(correct, prediction.max(axis=1), blocks)

    def scores(counts: np.ndarray) -> Scores:
        table = (counts @ confusion).reshape(classes, classes)
        areas = [area for area, _ in (ranking(counts) for ranking in rankings)]
        defined = [area for area in areas if area is not None]
        return means(counts) | {
            "macro_f1": _macro_f1(table),
            "macro_roc_auc": sum(defined) / len(defined) if defined else None,
            "ece": calibration(counts),
        }

    return scores


def _regression(
    target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray
) -> Callable[[np.ndarray], Scores]:
    centred = target - target.mean()
    means = _means(
        blocks,
        squared=(prediction - target) ** 2,
        mae=np.abs(prediction - target),
        bias=prediction - target,
        first=centred,
        second=centred**2,
    )
    order = np.argsort(np.abs(prediction - target), kind="stable")
    errors, sorted_blocks = np.abs(prediction - target)[order], blocks[order]

    def scores(counts: np.ndarray) -> Scores:
        found = {name: float(value or 0.0) for name, value in means(counts).items()}
        variance = found["second"] - found["first"] ** 2
        reached = np.cumsum(counts[sorted_blocks])
        middle = [np.searchsorted(reached, reached[-1] / 2, side) for side in ("left", "right")]
        return {
            "rmse": found["squared"] ** 0.5,
            "mae": found["mae"],
            "median_absolute_error": float(errors[middle].mean()),
            "bias": found["bias"],
            "r2": 1 - found["squared"] / variance if variance > 0 else None,
        }

    return scores


def _means(blocks: np.ndarray, **rows: np.ndarray) -> Callable[[np.ndarray], Scores]:
    """Weighted means of row-wise numbers, from their sums by block."""
    sizes = np.bincount(blocks)
    sums = {name: np.bincount(blocks, weights=values) for name, values in rows.items()}

    def means(counts: np.ndarray) -> Scores:
        total = int(counts @ sizes)
        return {name: float((counts * values).sum()) / total for name, values in sums.items()}

    return means


class _Ranking:
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


class _Calibration:
    """Expected calibration error over bins of equal numbers of rows (Naeini et al., 2015)."""

    def __init__(self, target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> None:
        bins = equal_bins(prediction, ECE_BINS)
        self.gaps = _by_block(blocks, ECE_BINS, bins, prediction - target)
        self.sizes = np.bincount(blocks)

    def __call__(self, counts: np.ndarray) -> float:
        """Sum over bins of |sum of (prediction - target)|, by row."""
        return float(np.abs((counts[:, None] * self.gaps).sum(axis=0)).sum()) / int(
            counts @ self.sizes
        )


def equal_bins(values: np.ndarray, bins: int) -> np.ndarray:
    """(N,) the bin of each value, 0 to bins - 1, about as many rows in each; ties stay together."""
    ordered = np.sort(values)
    edges = ordered[[len(values) * i // bins for i in range(1, bins)]]
    return np.searchsorted(edges, values, side="right")


def _by_block(
    blocks: np.ndarray, width: int, cells: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """(blocks, width) counts, or sums of weights, of each cell in each block."""
    count = int(blocks.max()) + 1
    flat = np.bincount(blocks * width + cells, weights=weights, minlength=count * width)
    return flat.reshape(count, width)


def _macro_f1(table: np.ndarray) -> float:
    """Mean F1 of the classes that occur or are predicted; table[truth, chosen]."""
    both = table.sum(axis=0) + table.sum(axis=1)
    present = both > 0
    return float(np.mean(2 * np.diag(table)[present] / both[present]))


def _of_truth(task: Task, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(N,) the probability that was given to what happened."""
    if task == "binary":
        return np.where(target > 0.5, prediction, 1 - prediction)
    return prediction[np.arange(len(target)), target.astype(np.int64)]


def _percentiles(values: list[float | None], confidence: float) -> dict[str, float | None]:
    defined = [value for value in values if value is not None]
    if not defined:
        return {"lower": None, "upper": None}
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(defined, [tail, 1 - tail])
    return {"lower": float(lower), "upper": float(upper)}
