"""Our metrics against scikit-learn, and the fast bootstrap against a slow one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from refit.evaluation.bootstrap import bootstrap, draws, score
from refit.tasks import binary, multiclass, regression
from refit.tasks.statistics import CLIP

RNG = np.random.default_rng(7)
ROWS = 400
PROBABILITY = np.round(RNG.random(ROWS), 2)
BINARY = (RNG.random(ROWS) < PROBABILITY).astype(float)
SCORES = RNG.dirichlet(np.ones(3), ROWS)
CLASSES = np.array([RNG.choice(3, p=row) for row in SCORES])
BLOCKS = np.sort(RNG.integers(0, 20, ROWS))
BLOCKS[:20] = np.arange(20)


def test_binary_metrics_equal_scikit_learn() -> None:
    """Ties included, every binary metric is the reference's."""
    clipped = np.clip(PROBABILITY, CLIP, 1 - CLIP)
    expected = {
        "roc_auc": reference.roc_auc_score(BINARY, PROBABILITY),
        "pr_auc": reference.average_precision_score(BINARY, PROBABILITY),
        "log_loss": reference.log_loss(BINARY, clipped),
        "brier": reference.brier_score_loss(BINARY, PROBABILITY),
        "prevalence": BINARY.mean(),
    }
    scores = score(binary.TASK, BINARY, PROBABILITY)
    assert {k: scores[k] for k in expected} == pytest.approx(expected, rel=1e-6)


def test_multiclass_metrics_equal_scikit_learn() -> None:
    """Log loss, accuracy, macro F1 and macro ROC AUC are the reference's."""
    expected = {
        "log_loss": reference.log_loss(CLASSES, SCORES),
        "accuracy": reference.accuracy_score(CLASSES, SCORES.argmax(1)),
        "macro_f1": reference.f1_score(CLASSES, SCORES.argmax(1), average="macro"),
        "macro_roc_auc": reference.roc_auc_score(CLASSES, SCORES, multi_class="ovr"),
        "brier": np.mean(((SCORES - np.eye(3)[CLASSES]) ** 2).sum(1)),
    }
    scores = score(multiclass.TASK, CLASSES, SCORES)
    assert {k: scores[k] for k in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rows", [300, 301])
def test_regression_metrics_equal_scikit_learn(rows: int) -> None:
    """Root mean square, mean and median absolute error and R2 are the reference's."""
    target, prediction = RNG.normal(50, 9, rows), RNG.normal(50, 9, rows)
    expected = {
        "rmse": reference.root_mean_squared_error(target, prediction),
        "mae": reference.mean_absolute_error(target, prediction),
        "median_absolute_error": reference.median_absolute_error(target, prediction),
        "r2": reference.r2_score(target, prediction),
        "bias": (prediction - target).mean(),
    }
    assert score(regression.TASK, target, prediction) == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    """Two groups, each 0.1 off, are 0.1 off together; a perfect forecast is not off."""
    target = np.array([0, 0, 0, 1, 1, 0, 1, 1, 1, 1] * 30, float)
    late, early = np.repeat([0.3, 0.7], 150), np.repeat([0.5, 0.5], 150)
    ordered = np.sort(target)
    assert score(binary.TASK, ordered, early)["ece"] == pytest.approx(0.1)
    assert score(binary.TASK, ordered, ordered)["ece"] == 0
    assert score(binary.TASK, ordered, late)["ece"] == pytest.approx((0.3 + 0.1) / 2)


def test_a_class_that_never_appears_is_left_out_of_macro_f1() -> None:
    """As in scikit-learn, a class neither true nor predicted does not lower the mean."""
    absent = np.column_stack([SCORES, np.zeros(ROWS)])
    expected = reference.f1_score(CLASSES, SCORES.argmax(1), average="macro")
    assert score(multiclass.TASK, CLASSES, absent)["macro_f1"] == pytest.approx(expected)


def test_one_class_has_no_ranking() -> None:
    """A single class leaves the ranking metrics undefined and the others defined."""
    scores = score(binary.TASK, np.ones(5), np.full(5, 0.9))
    assert scores["roc_auc"] is None
    assert scores["log_loss"] == pytest.approx(-np.log(0.9))


def test_the_bootstrap_equals_repeating_rows() -> None:
    """Weighting by block counts gives what copying the drawn blocks' rows gives."""
    scorer = binary.TASK.scorer(BINARY, PROBABILITY, BLOCKS)
    for counts in draws(20, 5, seed=3):
        rows = np.concatenate([np.flatnonzero(b == BLOCKS) for b in np.repeat(range(20), counts)])
        copied = score(binary.TASK, BINARY[rows], PROBABILITY[rows])
        (scores,) = scorer(counts[None])
        for name in ("roc_auc", "pr_auc", "log_loss", "brier"):
            assert scores[name] == pytest.approx(copied[name], rel=1e-9)


def test_the_weighted_median_equals_repeating_rows() -> None:
    """With drawn and undrawn blocks, odd and even counts, the median error is the copied rows'."""
    target, prediction = RNG.normal(size=ROWS), RNG.normal(size=ROWS)
    scorer = regression.TASK.scorer(target, prediction, BLOCKS)
    for counts in draws(20, 20, seed=4):
        rows = np.repeat(np.arange(ROWS), counts[BLOCKS])
        copied = np.median(np.abs(target - prediction)[rows])
        assert scorer(counts[None])[0]["median_absolute_error"] == pytest.approx(copied, rel=1e-12)


def test_the_bootstrap_repeats_and_holds_its_value() -> None:
    """The same seed gives the same interval, and the interval holds the value."""
    once, again = (
        bootstrap(binary.TASK, BINARY, PROBABILITY, BLOCKS, resamples=200, confidence=0.9, seed=5)
        for _ in range(2)
    )
    assert once == again
    for interval in once.values():
        assert interval.lower is not None
        assert interval.upper is not None
        assert interval.value is not None
    assert once["log_loss"].lower < once["log_loss"].value < once["log_loss"].upper


def test_losses_average_to_their_metric() -> None:
    """The mean of the row-wise losses is the metric of that name."""
    for name in ("log_loss", "brier"):
        assert binary.TASK.row_loss(name, BINARY, PROBABILITY).mean() == pytest.approx(
            score(binary.TASK, BINARY, PROBABILITY)[name]
        )
        assert multiclass.TASK.row_loss(name, CLASSES, SCORES).mean() == pytest.approx(
            score(multiclass.TASK, CLASSES, SCORES)[name]
        )
    with pytest.raises(ValueError, match="not a row-wise loss of a binary task"):
        binary.TASK.row_loss("squared_error", BINARY, PROBABILITY)


@given(st.permutations(range(60)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    """Metrics and resampled metrics are of the rows, not of their order."""
    target, prediction, blocks = BINARY[:60], PROBABILITY[:60], np.arange(60) // 6
    counts = draws(10, 1, seed=1)
    (plain,) = binary.TASK.scorer(target, prediction, blocks)(counts)
    (mixed,) = binary.TASK.scorer(target[order], prediction[order], blocks[order])(counts)
    for name, value in plain.items():
        assert mixed[name] == pytest.approx(value)
