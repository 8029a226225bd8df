"""The baselines learn from every feature, from missing values too, and repeat their bytes."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from refit.data.prepared import Arrays
from refit.evaluation.baselines import BASELINES, BaselineName
from refit.models import baselines
from refit.models.baselines import BaselineParams
from refit.models.final import EVERYTHING, TRAIN, everything
from refit.models.model import Data
from refit.tasks.catalog import TASKS, find

SETTINGS = BaselineParams(seed=3, boosting_rounds=20, boosting_patience=5)
CARDINALITIES = (4, 260)


def part(task: str, rows: int, seed: int) -> Arrays:
    """Two numbers (the second often missing), two categories; the target follows all but the last."""
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(rows, 2)).astype(np.float32)
    missing = rng.random(rows) < 0.3
    categorical = np.column_stack([rng.integers(0, 4, rows), rng.integers(0, 260, rows)])
    signal = 1.5 * numeric[:, 0] + 2 * missing + np.array([0, 2, -2, 1])[categorical[:, 0]]
    numeric[missing, 1] = np.nan
    if task == "regression":
        target = (signal + 0.3 * rng.normal(size=rows)).astype(np.float32)
    elif task == "counts":
        target = rng.poisson(np.exp(signal / 2)).astype(np.float32)
    elif task == "binary":
        target = (signal + rng.logistic(size=rows) > 0.5).astype(np.float32)
    else:
        target = np.digitize(signal + rng.normal(size=rows), [-1, 1])
    return Arrays(numeric=numeric, categorical=categorical.astype(np.int32), target=target)


def data(task: str, validation: Arrays) -> Data:
    return Data(
        task=find(task),
        train=part(task, 1500, seed=1),
        validation=validation,
        cardinalities=CARDINALITIES,
        classes=3 if task == "multiclass" else 0,
    )


@functools.cache
def fitted(task: str, name: BaselineName) -> baselines.Predict:
    return baselines.fit(name, data(task, part(task, 800, seed=2)), SETTINGS, final=TRAIN).final


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("task", TASKS)
def test_each_task_is_learned(task: str, name: BaselineName) -> None:
    """On later rows each baseline has at most three quarters of the loss of a constant."""
    holdout = part(task, 2000, seed=3)
    prediction = fitted(task, name)(holdout)
    if task == "multiclass":
        assert prediction.shape == (2000, 3)
        np.testing.assert_allclose(prediction.sum(axis=1), 1, rtol=1e-6)
        constant = np.tile(np.bincount(holdout.target) / 2000, (2000, 1))
    else:
        assert prediction.shape == (2000,)
        constant = np.full(2000, float(holdout.target.mean()))
    losses = [
        find(task).row_loss(find(task).row_losses[0], holdout.target, values).mean()
        for values in (prediction, constant)
    ]
    assert losses[0] < losses[1] * 3 / 4


@pytest.mark.parametrize("name", BASELINES)
def test_that_a_number_is_missing_is_information(name: BaselineName) -> None:
    """A row with a missing number gets another prediction than the same row with the mean."""
    rows = part("regression", 200, seed=4)
    absent, present = rows.numeric.copy(), rows.numeric.copy()
    absent[:, 1], present[:, 1] = np.nan, 0
    gain = [
        fitted("regression", name)(
            Arrays(numeric=numeric, categorical=rows.categorical, target=rows.target)
        )
        for numeric in (absent, present)
    ]
    assert np.mean(gain[0] - gain[1]) == pytest.approx(2, abs=0.3)


def test_the_linear_design_by_hand() -> None:
    """Numbers with 0 for missing, then missing flags, then one column for each known category."""
    rows = Arrays(
        numeric=np.array([[1.5, np.nan], [-2, 3]], np.float32),
        categorical=np.array([[0, 2], [1, 0]], np.int32),
        target=np.zeros(2, np.float32),
    )
    assert baselines._sparse(rows, (2, 3)).toarray().tolist() == [
        [1.5, 0, 0, 1, 0, 0, 1],
        [-2, 3, 0, 0, 1, 0, 0],
    ]


def test_a_category_unseen_in_training_is_predicted() -> None:
    """Code 0, which stands for every unknown category, gets a prediction from both baselines."""
    holdout = part("binary", 50, seed=5)
    unknown = Arrays(
        numeric=holdout.numeric,
        categorical=np.zeros_like(holdout.categorical),
        target=holdout.target,
    )
    for name in BASELINES:
        assert np.isfinite(fitted("binary", name)(unknown)).all()


def test_validation_only_stops_the_boosting() -> None:
    """A validation part that says the opposite stops the boosting early; the linear fit ignores it."""
    holdout, honest = part("binary", 100, seed=3), part("binary", 800, seed=2)
    opposite = Arrays(
        numeric=honest.numeric, categorical=honest.categorical, target=1 - honest.target
    )
    linear, boosted = (
        baselines.fit(name, data("binary", opposite), SETTINGS, final=TRAIN)
        .final(holdout)
        .tobytes()
        for name in ("linear", "boosted")
    )
    assert linear == fitted("binary", "linear")(holdout).tobytes()
    once = replace(SETTINGS, boosting_rounds=1)
    first_tree = baselines.fit("boosted", data("binary", honest), once, final=TRAIN).final
    assert boosted == first_tree(holdout).tobytes()
    assert boosted != fitted("binary", "boosted")(holdout).tobytes()


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_bytes(name: BaselineName) -> None:
    """Fitting again gives the same predictions, byte for byte."""
    holdout = part("binary", 300, seed=6)
    first, second = (
        predict(holdout).tobytes()
        for predict in (fitted("binary", name), fitted.__wrapped__("binary", name))
    )
    assert first == second


@pytest.mark.parametrize("name", BASELINES)
def test_the_final_baseline_has_learnt_from_validation(name: BaselineName) -> None:
    """It is what fitting on both parts gives; the chosen one is as without a final fit."""
    holdout, honest = part("binary", 300, seed=6), part("binary", 800, seed=2)
    fits = baselines.fit(name, data("binary", honest), SETTINGS, final=EVERYTHING)
    assert fits.chosen(holdout).tobytes() == fitted("binary", name)(holdout).tobytes()
    both = everything(data("binary", honest))
    assert len(both.train) == 2300
    if name == "linear":
        expected = baselines.fit(name, both, SETTINGS, final=TRAIN).final
        assert fits.final(holdout).tobytes() == expected(holdout).tobytes()
    assert fits.final(holdout).tobytes() != fits.chosen(holdout).tobytes()
