"""The tables behind the plots of an evaluation, which `dvc plots` and the reports draw."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from refit.core.files import rounded
from refit.tasks.statistics import CALIBRATION_BINS, equal_bins

POINTS = 200
"""A curve keeps at most this many points, evenly along its length."""
RESIDUAL_BINS = 30


def calibration(target: np.ndarray, prediction: np.ndarray) -> pl.DataFrame:
    """Mean prediction and mean target in bins of equal numbers of rows."""
    bins = equal_bins(prediction, CALIBRATION_BINS)
    sizes = np.bincount(bins, minlength=CALIBRATION_BINS)
    kept = sizes > 0
    predicted, observed = (
        np.bincount(bins, weights=values, minlength=CALIBRATION_BINS)[kept] / sizes[kept]
        for values in (prediction, target.astype(np.float64))
    )
    return _table({"predicted": predicted, "observed": observed, "rows": sizes[kept]})


def roc(target: np.ndarray, prediction: np.ndarray) -> pl.DataFrame:
    """False and true positive rate at falling thresholds, from (0, 0) to (1, 1)."""
    true, false, thresholds = _counts(target, prediction)
    return _table(
        {
            "false_positive_rate": false / max(false[-1], 1),
            "true_positive_rate": true / max(true[-1], 1),
            "threshold": thresholds,
        }
    )


def precision_recall(target: np.ndarray, prediction: np.ndarray) -> pl.DataFrame:
    """Precision and recall at falling thresholds."""
    true, false, thresholds = _counts(target, prediction)
    return _table(
        {
            "recall": true[1:] / max(true[-1], 1),
            "precision": true[1:] / np.maximum(true[1:] + false[1:], 1),
            "threshold": thresholds[1:],
        }
    )


def confusion(truth: np.ndarray, chosen: np.ndarray, names: tuple[str, ...]) -> pl.DataFrame:
    """One row per example: DVC's confusion template counts them itself."""
    labels = np.array(names)
    return pl.DataFrame({"actual": labels[truth], "predicted": labels[chosen]})


def residuals(target: np.ndarray, prediction: np.ndarray) -> pl.DataFrame:
    """Residuals counted in 30 bins between their 0.5 and 99.5 percentiles."""
    residual = prediction - target
    low, high = np.quantile(residual, [0.005, 0.995])
    counts, edges = np.histogram(np.clip(residual, low, high), bins=RESIDUAL_BINS)
    return _table({"residual": (edges[:-1] + edges[1:]) / 2, "rows": counts})


def _counts(
    target: np.ndarray, prediction: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and false positives at each distinct threshold, thinned; the first point is (0, 0)."""
    order = np.argsort(-prediction, kind="stable")
    ranked, hits = prediction[order], np.cumsum(target[order].astype(np.int64))
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    picked = ends[np.unique(np.linspace(0, len(ends) - 1, min(POINTS, len(ends))).astype(int))]
    true = np.concatenate([[0], hits[picked]])
    false = np.concatenate([[0], picked + 1 - hits[picked]])
    return true, false, np.concatenate([[1.0], ranked[picked]])


def _table(columns: Mapping[str, np.ndarray]) -> pl.DataFrame:
    return pl.DataFrame({name: rounded(values.tolist()) for name, values in columns.items()})
