"""Simple models of the same rows, which a network must beat to be worth its trouble.

- linear: logistic or ridge regression on the mapped numbers, missing flags and one-hot categories;
- boosted: scikit-learn's HistGradientBoosting on the mapped numbers (NaN is missing) and codes,
  stopped by the validation part.

Neither is tuned: a baseline is what an hour's work would give.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refit.core.params import param
from refit.data.prepared import Arrays
from refit.evaluation.baselines import BaselineName
from refit.tasks.task import Task

MAX_CATEGORIES = 255
"""HistGradientBoosting's limit; further codes are treated as numbers."""


@dataclass(frozen=True, kw_only=True)
class BaselineParams:
    """Section `baseline` of params.yaml."""

    seed: int = param("seed of the boosted baseline", minimum=0)
    boosting_rounds: int = param("boosting rounds, at most", minimum=1, maximum=100_000)
    boosting_patience: int = param(
        "rounds without a better validation loss before the boosting stops", minimum=1
    )


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A fitted baseline."""

    task: Task
    name: BaselineName
    estimator: Any
    cardinalities: tuple[int, ...]

    def predict(self, arrays: Arrays) -> np.ndarray:
        """(N,) or (N, K) predictions."""
        return self.task.estimate(self.estimator, _rows(self.name, arrays, self.cardinalities))


def fit(
    task: Task,
    name: BaselineName,
    train: Arrays,
    validation: Arrays,
    *,
    cardinalities: tuple[int, ...],
    settings: BaselineParams,
) -> Baseline:
    """Fit one baseline on the training rows; validation only stops the boosting."""
    rows = _rows(name, train, cardinalities)
    if name == "linear":
        estimator = task.linear()
        estimator.fit(rows, train.target)
    else:
        estimator = _boosted(task, train, cardinalities, settings)
        held_out = _rows(name, validation, cardinalities)
        estimator.fit(rows, train.target, X_val=held_out, y_val=validation.target)
    return Baseline(task=task, name=name, estimator=estimator, cardinalities=cardinalities)


def _boosted(
    task: Task, train: Arrays, cardinalities: tuple[int, ...], settings: BaselineParams
) -> Any:
    numeric = train.numeric.shape[1]
    categorical = [numeric + i for i, count in enumerate(cardinalities) if count <= MAX_CATEGORIES]
    return task.boosted(
        categorical_features=categorical or None,
        max_iter=settings.boosting_rounds,
        early_stopping=True,
        n_iter_no_change=settings.boosting_patience,
        random_state=settings.seed,
    )


def _rows(name: BaselineName, arrays: Arrays, cardinalities: tuple[int, ...]) -> np.ndarray:
    """What the estimator reads: (N, columns) float64."""
    if name == "boosted":
        return np.hstack([arrays.numeric, arrays.categorical]).astype(np.float64)
    missing = np.isnan(arrays.numeric)
    numbers = np.where(missing, 0, arrays.numeric)
    one_hot = [
        arrays.categorical[:, [column]] == np.arange(1, count)
        for column, count in enumerate(cardinalities)
    ]
    return np.hstack([numbers, missing, *one_hot]).astype(np.float64)
