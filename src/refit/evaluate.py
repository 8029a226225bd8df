"""What the holdout says of a model: metrics with intervals, slices, thresholds, plots.

Every number is of rows newer than all rows that trained it. Thresholds are chosen on the validation
part and only applied to the holdout, so that no choice has seen the rows it is judged by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from refit import metrics
from refit.dataset import Roles
from refit.params import param


@dataclass(frozen=True, kw_only=True)
class EvaluateParams:
    """Section `evaluate` of params.yaml."""

    resamples: int = param("bootstrap samples behind each interval", minimum=100)
    confidence: float = param("coverage of the intervals", minimum=0.5, maximum=0.999)
    seed: int = param("seed of the bootstrap", minimum=0)
    block: str = param("rows resampled together: `1d`, `6h`, `1w`, or `10i` of an integer time")
    smallest_slice: int = param("rows below which a slice is flagged as small", minimum=1)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Targets and predictions of one part of the split."""

    target: np.ndarray
    """(N,) 0/1, class numbers, or values."""
    predictions: Mapping[str, np.ndarray]
    """By model (`network`, `linear`, `boosted`): (N,) or (N, K) float64."""


def judge(
    roles: Roles, holdout: Judged, blocks: np.ndarray, settings: EvaluateParams
) -> dict[str, Any]:
    """Every model's metrics with intervals, on the same holdout rows and resamples."""
    return {
        name: {
            metric: {"value": i.value, "lower": i.lower, "upper": i.upper}
            for metric, i in metrics.bootstrap(
                roles.task,
                holdout.target,
                prediction,
                blocks,
                resamples=settings.resamples,
                confidence=settings.confidence,
                seed=settings.seed,
            ).items()
        }
        for name, prediction in holdout.predictions.items()
    }


def prediction_columns(
    predictions: Mapping[str, np.ndarray], classes: tuple[str, ...]
) -> dict[str, pl.Series]:
    """Predictions as columns: `network`, or `network_CLASS` for each class."""
    columns: dict[str, pl.Series] = {}
    for name, values in predictions.items():
        if values.ndim == 1:
            columns[name] = pl.Series(values.astype(np.float32))
            continue
        for number, word in enumerate(classes):
            columns[f"{name}_{word}"] = pl.Series(values[:, number].astype(np.float32))
    return columns
