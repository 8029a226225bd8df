"""The tasks: torch and ONNX predict the same, and the counts' mathematics equals references."""

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from sklearn.metrics import d2_tweedie_score, mean_poisson_deviance

from refit.core.errors import ConfigError
from refit.evaluation.bootstrap import draws, score
from refit.evaluation.predictions import TOLERANCE
from refit.serving.onnx_graph import IR_VERSION, OPSET, Graph
from refit.tasks import binary, counts, multiclass, regression
from refit.tasks.catalog import TASKS, find
from refit.tasks.task import Task

SCALES = {"regression": (-37.25, 12.5), "counts": (3.7, 1.0)}
"""Location and spread of the tasks that have them."""
CLASSES = 5
ROWS = 500
RATE = np.random.default_rng(1).gamma(2.0, 1.5, ROWS)
COUNT = np.random.default_rng(2).poisson(RATE).astype(np.float32)
"""(ROWS,) counts, with zeros among them, and the rates that they were drawn from."""


def scale_of(task: Task) -> tuple[float, float]:
    """Location and spread."""
    return SCALES.get(task.name, (0.0, 1.0))


def by_torch(task: Task, outputs: np.ndarray) -> np.ndarray:
    """Outputs (B, K) -> predictions, by `predict`."""
    location, spread = (torch.tensor(value, dtype=torch.float32) for value in scale_of(task))
    return task.predict(torch.from_numpy(outputs), location, spread).numpy()


def by_onnx(task: Task, outputs: np.ndarray) -> np.ndarray:
    """Outputs (B, K) -> predictions, by the nodes of `to_onnx` in ONNX Runtime."""
    graph = Graph()
    name = task.to_onnx(graph, "outputs", scale_of(task))
    columns = outputs.shape[1]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "task",
            [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["rows", columns])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
            graph.constants,
        ),
        opset_imports=OPSET,
        ir_version=IR_VERSION,
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    prediction: np.ndarray = session.run([name], {"outputs": outputs})[0]
    return prediction


@pytest.mark.parametrize(
    ("task", "spread"),
    [
        pytest.param(task, spread, id=f"{name}-{spread}")
        for name, task in TASKS.items()
        for spread in (0.1, 3.0, 20.0)
    ],
)
def test_torch_and_onnx_predict_the_same(task: Task, spread: float) -> None:
    """`predict` and `to_onnx` agree on random outputs, large ones included, and are possible."""
    shape = ROWS, task.outputs(CLASSES)
    outputs = (np.random.default_rng(3).normal(size=shape) * spread).astype(np.float32)
    prediction, exported = by_torch(task, outputs), by_onnx(task, outputs)
    assert prediction.dtype == exported.dtype == np.float32
    assert prediction.shape == ((ROWS, CLASSES) if task is multiclass.TASK else (ROWS,))
    if spread < 1:
        np.testing.assert_allclose(exported, prediction, rtol=1e-6)
    difference = np.abs(exported - prediction) / np.maximum(np.abs(prediction), 1)
    assert difference.max() <= TOLERANCE
    assert task.in_range(prediction.reshape(ROWS, -1).astype(np.float64)).all()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_catalog_finds_every_task(task: Task) -> None:
    """A task is found by its name."""
    assert find(task.name) is task


def test_an_unknown_task_lists_the_tasks() -> None:
    """The error names the unknown task, where it stands and which tasks there are."""
    with pytest.raises(ConfigError) as caught:
        find("ranking")
    message = str(caught.value)
    assert "'ranking'" in message
    assert "ROLES" in message
    assert all(name in message for name in TASKS)


def test_the_deviance_and_d2_equal_scikit_learn() -> None:
    """The counts' metrics are scikit-learn's, on all rows and on any resample of blocks."""
    prediction = RATE * 1.2 + 0.1
    expected = {
        "poisson_deviance": mean_poisson_deviance(COUNT, prediction),
        "d2": d2_tweedie_score(COUNT, prediction, power=1),
        "mae": np.abs(COUNT - prediction).mean(),
        "bias": (prediction - COUNT).mean(),
    }
    assert score(counts.TASK, COUNT, prediction) == pytest.approx(expected, rel=1e-9)
    losses = counts.TASK.row_loss("poisson_deviance", COUNT, prediction)
    assert losses.mean() == pytest.approx(expected["poisson_deviance"], rel=1e-9)
    blocks = np.arange(ROWS) // 25
    scorer = counts.TASK.scorer(COUNT, prediction, blocks)
    for drawn in draws(ROWS // 25, 5, seed=4):
        rows = np.repeat(np.arange(ROWS), drawn[blocks])
        (scores,) = scorer(drawn[None])
        deviance = mean_poisson_deviance(COUNT[rows], prediction[rows])
        share = d2_tweedie_score(COUNT[rows], prediction[rows], power=1)
        assert scores["poisson_deviance"] == pytest.approx(deviance, rel=1e-9)
        assert scores["d2"] == pytest.approx(share, rel=1e-9)


def test_d2_of_equal_counts_is_undefined() -> None:
    """Without variance there is nothing to explain; the deviance stays defined."""
    scores = score(counts.TASK, np.full(4, 2.0), np.full(4, 3.0))
    assert scores["d2"] is None
    assert scores["poisson_deviance"] == pytest.approx(mean_poisson_deviance([2] * 4, [3] * 4))


def test_a_rate_of_zero_has_a_finite_deviance() -> None:
    """A predicted rate of 0 costs much where something happened, and nothing where not."""
    losses = counts.TASK.row_loss("poisson_deviance", np.array([0.0, 3.0]), np.zeros(2))
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert 50 < losses[1] < np.inf


@given(st.lists(st.floats(-14, 14, width=32), min_size=1, max_size=30), st.floats(0.1, 100))
def test_the_gradient_of_the_counts_is_that_of_the_poisson_loss(
    outputs: list[float], mean: float
) -> None:
    """In float64, value and gradient equal those of rate - count * log(rate), over the mean."""
    target = torch.from_numpy(np.resize(COUNT, len(outputs)).astype(np.float64))
    location, spread = torch.tensor(mean, dtype=torch.float64), torch.tensor(1.0).double()
    ours, plain = (
        torch.tensor(outputs, dtype=torch.float64).unsqueeze(1).requires_grad_() for _ in range(2)
    )
    loss = counts.TASK.loss(ours, target, location, spread)
    logarithm = plain[:, 0] + location.log()
    reference = ((logarithm.exp() - target * logarithm) / location).mean()
    constant = (target * location.log() / location).mean()
    loss.backward()
    reference.backward()
    torch.testing.assert_close(loss, reference + constant, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-9, atol=1e-12)


def test_the_scale_of_counts_is_their_mean() -> None:
    """The location is the exact mean; an output of 0 predicts it; there is no spread."""
    assert counts.TASK.scale(np.array([0, 1, 5], np.float32)) == (2.0, 1.0)
    rates = by_torch(counts.TASK, np.array([[0.0], [100.0], [-100.0]], np.float32))
    mean = SCALES["counts"][0]
    limits = mean * np.exp([0, counts.LIMIT, -counts.LIMIT])
    np.testing.assert_allclose(rates, limits, rtol=1e-5)


def test_the_scale_of_numbers_is_mean_and_deviation() -> None:
    """Constant values have the spread 1, so that nothing is divided by 0."""
    assert regression.TASK.scale(np.array([1, 3], np.float32)) == (2.0, 1.0)
    assert regression.TASK.scale(np.array([0, 0, 6], np.float32)) == (2.0, 8**0.5)
    assert regression.TASK.scale(np.array([4, 4], np.float32)) == (4.0, 1.0)


@pytest.mark.parametrize(
    ("task", "values", "wrong"),
    [
        ("counts", [0, 1, 2, 40], None),
        ("counts", [0.0, 7.0], None),
        ("counts", [0, -1, -2], "in 2 rows, for example -1"),
        ("counts", [1.0, 2.5], "in 1 rows, for example 2.5"),
        ("counts", [1.0, float("inf"), float("nan")], "in 2 rows, for example inf"),
        ("binary", [0, 1, 1], None),
        ("binary", [True, False], None),
        ("binary", [0, 1, 2], "in 1 rows, for example 2"),
        ("binary", [0.0, 0.5], "in 1 rows, for example 0.5"),
        ("regression", [-1.5, 2.0], None),
        ("multiclass", ["a", "b"], None),
    ],
)
def test_impossible_targets_are_named(task: str, values: list[object], wrong: str | None) -> None:
    """Each target that a task cannot have is counted and shown by an example."""
    errors = find(task).target_errors(pl.Series("y", values))
    if wrong is None:
        assert errors == []
    else:
        (error,) = errors
        assert error.endswith(wrong)
        assert "y" in error


@pytest.mark.parametrize(
    ("task", "accepted"),
    [
        ("binary", {pl.Int64, pl.Float64, pl.Boolean}),
        ("multiclass", {pl.String}),
        ("regression", {pl.Int64, pl.Float64}),
        ("counts", {pl.Int64, pl.Float64}),
    ],
)
def test_types_of_the_target(task: str, accepted: set[type[pl.DataType]]) -> None:
    """Each task accepts the types that its target can have, and no other."""
    types = (pl.Int64, pl.Float64, pl.Boolean, pl.String, pl.Date)
    assert {dtype for dtype in types if find(task).accepts(dtype())} == accepted


@pytest.mark.parametrize(
    ("task", "predictions", "possible"),
    [
        ("binary", [[0.0], [1.0], [-0.1], [1.1], [np.nan]], [True, True, False, False, False]),
        (
            "multiclass",
            [[0.5, 0.5], [1.0, 0.0], [0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]],
            [True, True, False, False, False],
        ),
        ("regression", [[-1e9], [0.0], [np.inf], [np.nan]], [True, True, False, False]),
        ("counts", [[0.0], [1e9], [-1e-9], [np.inf]], [True, True, False, False]),
    ],
)
def test_possible_predictions(
    task: str, predictions: list[list[float]], possible: list[bool]
) -> None:
    """Probabilities are in range and add up to 1, counts are not negative, all are finite."""
    assert find(task).in_range(np.array(predictions)).tolist() == possible


def test_what_is_calibrated() -> None:
    """Probabilities of 1, and of the chosen class; without probabilities there is nothing."""
    happened, probability = binary.TASK.calibrated(np.array([1, 0]), np.array([0.75, 0.25]))
    assert (happened.tolist(), probability.tolist()) == ([1, 0], [0.75, 0.25])
    scores = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
    right, confidence = multiclass.TASK.calibrated(np.array([0, 2]), scores)
    assert (right.tolist(), confidence.tolist()) == ([1, 0], [0.5, 0.75])
    for task in (regression.TASK, counts.TASK):
        assert task.calibrated(COUNT, RATE) is None


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_row_loss_is_one_number_a_row(task: Task) -> None:
    """Each loss that a policy may choose is finite and not negative; any other is refused."""
    target: np.ndarray = np.arange(ROWS) % 2
    prediction = np.random.default_rng(5).dirichlet(np.ones(2), ROWS)
    values = prediction if task is multiclass.TASK else prediction[:, 0]
    for name in task.row_losses:
        losses = task.row_loss(name, target, values)
        assert losses.shape == (ROWS,)
        assert (np.isfinite(losses) & (losses >= -1e-12)).all()
    with pytest.raises(ValueError, match=f"not a row-wise loss of a {task.name} task"):
        task.row_loss("hinge", target, values)
