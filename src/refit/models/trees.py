"""LightGBM with its deterministic settings: the same trees on any number of threads."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from refit.data.prepared import Arrays
from refit.models.model import Data

if TYPE_CHECKING:
    from lightgbm import Booster


def boost(
    data: Data,
    options: dict[str, Any],
    *,
    rounds: int,
    patience: int | None,
    seed: int,
    threads: int,
    callbacks: tuple[Callable[..., None], ...] = (),
) -> "Booster":
    """Boost until the loss on the validation part stops falling. Categories stay categories.

    Args:
        data: what to fit on.
        options: LightGBM's own, beside those that are set here.
        rounds: trees (for each class), at most.
        patience: rounds without a better validation loss before stopping; None for exactly
            `rounds`, without validation.
        seed: of LightGBM.
        threads: used; they change no bit.
        callbacks: called after each round.
    """
    import lightgbm

    numeric = data.train.numeric.shape[1]
    train = lightgbm.Dataset(
        rows(data.train),
        data.train.target,
        categorical_feature=list(range(numeric, numeric + len(data.cardinalities))),
        params={"verbose": -1},
    )
    valid, stopping = [], []
    if patience is not None:
        valid = [train.create_valid(rows(data.validation), data.validation.target)]
        stopping = [lightgbm.early_stopping(patience, verbose=False)]
    return lightgbm.train(
        options | _fixed(data, seed, threads),
        train,
        num_boost_round=rounds,
        valid_sets=valid,
        callbacks=[*callbacks, *stopping],
    )


def _fixed(data: Data, seed: int, threads: int) -> dict[str, Any]:
    return {
        "objective": data.task.boosting_objective,
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
        **({"num_class": data.classes} if data.classes else {}),
    }


def rows(arrays: Arrays) -> np.ndarray:
    """(N, F + C) float32: mapped numbers with NaN for missing, then codes."""
    return np.hstack([arrays.numeric, arrays.categorical.astype(np.float32)])
