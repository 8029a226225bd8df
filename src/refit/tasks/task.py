"""The task: everything that depends on what is predicted.

A task is one subclass of `Task` in a file of its own, and one line in `refit.tasks.catalog`.
Libraries that only one stage needs (torch, scikit-learn) are imported where they are used.

Shapes: N rows, B rows of a batch, K outputs or classes. A target is (N,): float32, or int64 class
numbers. Predictions are (N,) or, with classes, (N, K).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from torch import Tensor

    from refit.serving.onnx_graph import Graph

Scores = dict[str, float | None]
"""Metrics by name; None where a metric is not defined, for example with one class alone."""
Scorer = Callable[[np.ndarray], list[Scores]]
"""Metrics of the rows under each (blocks,) of counts (R, blocks): how often a block was drawn."""


class Task(ABC):
    """What is predicted, and all that follows from it."""

    name: ClassVar[str]
    """As `ROLES` of the dataset names it."""
    row_losses: ClassVar[tuple[str, ...]]
    """Losses of single rows that a policy may choose; the first is the usual one."""
    higher_is_better: ClassVar[frozenset[str]] = frozenset()
    """Metrics of `scorer` that grow with quality."""
    predictions: ClassVar[str]
    """What the predictions are, in a plural noun: `probabilities`."""

    boosting_objective: ClassVar[str]
    """LightGBM's name of the loss."""

    calibration_axes: ClassVar[tuple[str, str]] = ("mean prediction", "mean target")
    """Labels of the calibration plot: what is predicted, and what happened."""

    # The target

    @abstractmethod
    def accepts(self, dtype: pl.DataType) -> bool:
        """Whether a target column may have this type."""

    def target_errors(self, target: pl.Series) -> list[str]:
        """What is wrong with the values of a target without nulls, a sentence for each error."""
        del target
        return []

    def classes(self, target: pl.Series) -> tuple[str, ...]:
        """The names of the classes in the training target; empty where the task has none."""
        del target
        return ()

    def encode(self, target: pl.Series, classes: tuple[str, ...]) -> np.ndarray:
        """(N,) the target as a model learns it.

        Raises:
            DataError: the target holds a class that is not among `classes`.
        """
        del classes
        return target.cast(pl.Float32).to_numpy()

    # The output layer

    def outputs(self, classes: int) -> int:
        """K, the outputs of a model."""
        del classes
        return 1

    def scale(self, target: np.ndarray) -> tuple[float, float]:
        """Location and spread of the training target (N,), to which outputs are relative."""
        del target
        return 0.0, 1.0

    @abstractmethod
    def loss(
        self, outputs: "Tensor", target: "Tensor", location: "Tensor", spread: "Tensor"
    ) -> "Tensor":
        """Mean loss of a batch: outputs (B, K), target (B,) -> ()."""

    @abstractmethod
    def predict(self, outputs: "Tensor", location: "Tensor", spread: "Tensor") -> "Tensor":
        """Outputs (B, K) -> predictions (B,) or (B, K)."""

    @abstractmethod
    def to_onnx(self, graph: "Graph", outputs: str, scale: tuple[float, float]) -> str:
        """Add the nodes of `predict` to the graph; returns the name of the prediction."""

    # The linear baseline

    @abstractmethod
    def linear(self) -> Any:
        """An unfitted linear model of scikit-learn that takes a sparse matrix."""

    @abstractmethod
    def estimate(self, estimator: Any, rows: Any) -> np.ndarray:
        """Predictions of a fitted one for a sparse matrix."""

    # Evaluation

    @abstractmethod
    def row_loss(self, name: str, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """(N,) the loss of each row, one of `row_losses`.

        Raises:
            ValueError: the task has no loss of this name.
        """

    @abstractmethod
    def scorer(self, target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> Scorer:
        """A function that gives the metrics under block counts; `blocks` is (N,) from 0."""

    @abstractmethod
    def plots(
        self,
        classes: tuple[str, ...],
        target: np.ndarray,
        prediction: np.ndarray,
        thresholds: Mapping[str, float],
    ) -> dict[str, pl.DataFrame]:
        """The tables behind the plots, by name; each becomes a CSV file."""

    def roc_curves(
        self, classes: tuple[str, ...], target: np.ndarray, prediction: np.ndarray
    ) -> dict[str, pl.DataFrame]:
        """ROC tables by class, or under '' where there is one; empty without probabilities."""
        del classes, target, prediction
        return {}

    def thresholds(self, target: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        """Thresholds chosen on the validation part, by name; empty where the task has none."""
        del target, prediction
        return {}

    def at_threshold(
        self, target: np.ndarray, prediction: np.ndarray, threshold: float
    ) -> dict[str, float]:
        """What the predictions amount to at one threshold of `thresholds`."""
        del target, prediction, threshold
        return {}

    # Promotion

    def in_range(self, prediction: np.ndarray) -> np.ndarray:
        """(N,) whether each prediction is possible; `prediction` is (N, 1) or (N, K)."""
        finite: np.ndarray = np.isfinite(prediction).all(axis=1)
        return finite

    def calibrated(
        self, target: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """(N,) what happened and (N,) its predicted probability; None without probabilities."""
        del target, prediction
        return None


def unknown_loss(task: Task, name: str) -> ValueError:
    """The error of a loss that the task does not have."""
    return ValueError(f"{name} is not a row-wise loss of a {task.name} task")
