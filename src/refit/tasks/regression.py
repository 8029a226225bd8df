"""Regression: the expected value of a number."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.tasks import plot_tables
from refit.tasks.statistics import block_means, weighted_median
from refit.tasks.task import Scorer, Scores, Task, unknown_loss

if TYPE_CHECKING:
    from torch import Tensor

    from refit.serving.onnx_graph import Graph


class Regression(Task):
    """Target a number; one output, the standardised value; predictions are values."""

    name = "regression"
    row_losses = ("squared_error", "absolute_error")
    higher_is_better = frozenset({"r2"})
    predictions = "numbers"
    boosting_objective = "regression"

    def accepts(self, dtype: pl.DataType) -> bool:
        """A number."""
        return dtype.is_numeric()

    def scale(self, target: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation; the sums are exact."""
        values = [float(value) for value in target]
        mean = math.fsum(values) / len(values)
        variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
        return mean, math.sqrt(variance) or 1.0

    def loss(
        self, outputs: "Tensor", target: "Tensor", location: "Tensor", spread: "Tensor"
    ) -> "Tensor":
        """Squared error of the standardised target."""
        return ((outputs.squeeze(1) - (target - location) / spread) ** 2).mean()

    def predict(self, outputs: "Tensor", location: "Tensor", spread: "Tensor") -> "Tensor":
        """The value in the target's own unit."""
        return outputs.squeeze(1) * spread + location

    def to_onnx(self, graph: "Graph", outputs: str, scale: tuple[float, float]) -> str:
        """Mul, Add, Squeeze."""
        location, spread = scale
        scaled = graph.add("Mul", outputs, graph.constant(np.array(spread, np.float32)))
        moved = graph.add("Add", scaled, graph.constant(np.array(location, np.float32)))
        return graph.add("Squeeze", moved, graph.constant([1]))

    def linear(self) -> Any:
        """Ridge regression."""
        from sklearn.linear_model import Ridge

        return Ridge(alpha=1.0, solver="sparse_cg")

    def estimate(self, estimator: Any, rows: Any) -> np.ndarray:
        """(N,) values."""
        return np.asarray(estimator.predict(rows))

    def row_loss(self, name: str, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Squared or absolute error."""
        losses: np.ndarray
        if name == "squared_error":
            losses = (prediction - target) ** 2
        elif name == "absolute_error":
            losses = np.abs(prediction - target)
        else:
            raise unknown_loss(self, name)
        return losses

    def scorer(self, target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> Scorer:
        """Root mean squared, mean and median absolute error, bias, explained variance."""
        centred = target - target.mean()
        means = block_means(
            blocks,
            squared=(prediction - target) ** 2,
            mae=np.abs(prediction - target),
            bias=prediction - target,
            first=centred,
            second=centred**2,
        )
        order = np.argsort(np.abs(prediction - target), kind="stable")
        errors, sorted_blocks = np.abs(prediction - target)[order], blocks[order]

        def one(counts: np.ndarray) -> Scores:
            mean = means(counts)
            variance = mean["second"] - mean["first"] ** 2
            return {
                "rmse": mean["squared"] ** 0.5,
                "mae": mean["mae"],
                "median_absolute_error": weighted_median(errors, counts[sorted_blocks]),
                "bias": mean["bias"],
                "r2": 1 - mean["squared"] / variance if variance > 0 else None,
            }

        return lambda drawn: [one(counts) for counts in drawn]

    def plots(
        self,
        classes: tuple[str, ...],
        target: np.ndarray,
        prediction: np.ndarray,
        thresholds: Mapping[str, float],
    ) -> dict[str, pl.DataFrame]:
        """Calibration and residuals."""
        del classes, thresholds
        return {
            "calibration": plot_tables.calibration(target, prediction),
            "residuals": plot_tables.residuals(target, prediction),
        }


TASK = Regression()
