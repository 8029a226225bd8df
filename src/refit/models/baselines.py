"""Simple models of the same rows, which a network must beat to be worth its trouble.

- linear: logistic or ridge regression on the mapped numbers, missing flags and one-hot categories,
  in a sparse matrix of float32;
- boosted: LightGBM as it comes, on the mapped numbers (NaN is missing) and codes, stopped by the
  validation part.

Neither is tuned: a baseline is what an hour's work would give.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from refit.core.params import param
from refit.data.prepared import Arrays
from refit.evaluation.baselines import BaselineName
from refit.models import trees
from refit.models.final import TRAIN, everything
from refit.models.model import Data

if TYPE_CHECKING:
    from lightgbm import Booster
    from scipy.sparse import csr_array

Predict = Callable[[Arrays], np.ndarray]
"""Rows -> predictions (N,) or (N, K)."""


@dataclass(frozen=True, kw_only=True)
class BaselineParams:
    """Section `baseline` of params.yaml."""

    seed: int = param("seed of the boosted baseline", minimum=0)
    boosting_rounds: int = param("boosting rounds, at most", minimum=1, maximum=100_000)
    boosting_patience: int = param(
        "rounds without a better validation loss before the boosting stops", minimum=1
    )


@dataclass(frozen=True, kw_only=True)
class Fits:
    """One baseline, as refit.models.final has it of the model."""

    chosen: Predict
    """Fitted on the training part."""
    final: Predict
    """Fitted on what the final model is fitted on."""


def fit(name: BaselineName, data: Data, settings: BaselineParams, *, final: str) -> Fits:
    """Fit one baseline on one thread; validation only stops the boosting.

    LightGBM's threads wait for each other by spinning. On a machine with other work that took
    twenty times as long as one thread.
    """
    if name == "linear":
        chosen = _linear(data)
        return Fits(chosen=chosen, final=chosen if final == TRAIN else _linear(everything(data)))
    return _boosted(data, settings, final)


def _linear(data: Data) -> Predict:
    estimator = data.task.linear()
    estimator.fit(_sparse(data.train, data.cardinalities), data.train.target)
    return lambda arrays: data.task.estimate(estimator, _sparse(arrays, data.cardinalities))


def _boosted(data: Data, settings: BaselineParams, final: str) -> Fits:
    def predictor(booster: "Booster") -> Predict:
        return lambda arrays: np.asarray(booster.predict(trees.rows(arrays), num_threads=1))

    boost = partial(trees.boost, options={}, seed=settings.seed, threads=1)
    chosen = boost(data, rounds=settings.boosting_rounds, patience=settings.boosting_patience)
    if final == TRAIN:
        return Fits(chosen=predictor(chosen), final=predictor(chosen))
    again = boost(everything(data), rounds=chosen.best_iteration, patience=None)
    return Fits(chosen=predictor(chosen), final=predictor(again))


def _sparse(arrays: Arrays, cardinalities: tuple[int, ...]) -> "csr_array":
    """(N, columns): numbers with 0 for missing, missing flags, a column for each known code."""
    from scipy import sparse

    missing = np.isnan(arrays.numeric)
    blocks = [sparse.csr_array(np.where(missing, 0, arrays.numeric)), sparse.csr_array(missing)]
    for column, count in enumerate(cardinalities):
        codes = arrays.categorical[:, column]
        (known,) = np.nonzero(codes)
        ones = np.ones(len(known), np.float32)
        shape = len(arrays), count - 1
        blocks.append(sparse.csr_array((ones, (known, codes[known] - 1)), shape=shape))
    return sparse.hstack(blocks, format="csr", dtype=np.float32)
