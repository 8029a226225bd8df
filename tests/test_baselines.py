"""The baselines learn from every feature, from missing values too, and repeat their bytes."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest

from refit.data.prepared import Arrays
from refit.evaluation.baselines import BASELINES, BaselineName
from refit.models import baselines
from refit.models.baselines import BaselineParams
from refit.tasks.catalog import TASKS, find

SETTINGS = BaselineParams(seed=3, boosting_rounds=20, boosting_patience=5)
CARDINALITIES = (4, 260)
"""The second is beyond what HistGradientBoosting takes as categories."""


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


@functools.cache
def fitted(task: str, name: BaselineName) -> baselines.Baseline:
    return baselines.fit(
        find(task),
        name,
        part(task, 1500, seed=1),
        part(task, 800, seed=2),
        cardinalities=CARDINALITIES,
        settings=SETTINGS,
    )


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("task", TASKS)
def test_each_task_is_learned(task: str, name: BaselineName) -> None:
    """On later rows each baseline has at most three quarters of the loss of a constant."""
    holdout = part(task, 2000, seed=3)
    prediction = fitted(task, name).predict(holdout)
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
        fitted("regression", name).predict(
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
    assert baselines._rows("linear", rows, (2, 3)).tolist() == [
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
        assert np.isfinite(fitted("binary", name).predict(unknown)).all()


def test_validation_only_stops_the_boosting() -> None:
    """A validation part that says the opposite stops the boosting early; the linear fit ignores it."""
    train, holdout = part("binary", 1500, seed=1), part("binary", 100, seed=3)
    honest = part("binary", 800, seed=2)
    opposite = Arrays(
        numeric=honest.numeric, categorical=honest.categorical, target=1 - honest.target
    )
    linear, boosted = (
        baselines.fit(
            find("binary"), name, train, opposite, cardinalities=CARDINALITIES, settings=SETTINGS
        )
        for name in ("linear", "boosted")
    )
    expected = fitted("binary", "linear").predict(holdout)
    assert linear.predict(holdout).tobytes() == expected.tobytes()
    assert boosted.estimator.n_iter_ <= SETTINGS.boosting_patience + 1
    assert fitted("binary", "boosted").estimator.n_iter_ > SETTINGS.boosting_patience + 1


DIGEST = """
import hashlib, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
import test_baselines as t
for name in t.BASELINES:
    prediction = t.fitted("binary", name).predict(t.part("binary", 500, seed=6))
    print(name, hashlib.sha256(prediction.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing() -> None:
    """With one BLAS thread, one and two OpenMP threads give the same bytes."""
    printed = [
        subprocess.run(
            [sys.executable, "-c", DIGEST, __file__],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert len(printed[0].splitlines()) == len(BASELINES)
    assert printed[0] == printed[1]


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_bytes(name: BaselineName) -> None:
    """Fitting again gives the same predictions, byte for byte."""
    holdout = part("binary", 300, seed=6)
    first, second = (
        model.predict(holdout).tobytes()
        for model in (fitted("binary", name), fitted.__wrapped__("binary", name))
    )
    assert first == second
