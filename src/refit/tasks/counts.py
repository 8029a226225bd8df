"""Counts: the expected number of events, by the Poisson deviance.

The model's output f is the logarithm of the rate relative to the mean count of the training rows:
rate = mean * e^f. The exponential is written as sigmoid(f) / sigmoid(-f), which has the same bits
on every processor (a bare exp has not), and f is kept within 15, so that neither side underflows.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.tasks import plot_tables
from refit.tasks.statistics import CLIP, block_means
from refit.tasks.task import Scorer, Scores, Task, unknown_loss

if TYPE_CHECKING:
    from torch import Tensor

    from refit.serving.onnx_graph import Graph

LIMIT = 15.0
"""Largest logarithm of a rate, relative to the mean: a factor of three million."""


class Counts(Task):
    """Target 0, 1, 2 ...; one output, the logarithm of the relative rate; predictions are rates."""

    name = "counts"
    row_losses = ("poisson_deviance", "squared_error", "absolute_error")
    higher_is_better = frozenset({"d2"})
    predictions = "rates"
    boosting_objective = "poisson"

    def accepts(self, dtype: pl.DataType) -> bool:
        """A number."""
        return dtype.is_numeric()

    def target_errors(self, target: pl.Series) -> list[str]:
        """Values that no counting gives."""
        values = target.cast(pl.Float64)
        wrong = target.filter((values < 0) | (values != values.floor()) | ~values.is_finite())
        if wrong.is_empty():
            return []
        error = f"target {target.name} is not 0, 1, 2 ... in {len(wrong):,} rows"
        return [f"{error}, for example {wrong[0]}"]

    def scale(self, target: np.ndarray) -> tuple[float, float]:
        """The mean count, whose sum is exact; there is no spread."""
        return math.fsum(float(value) for value in target) / len(target), 1.0

    def loss(
        self, outputs: "Tensor", target: "Tensor", location: "Tensor", spread: "Tensor"
    ) -> "Tensor":
        """Half the Poisson deviance over the mean, less what depends on the target alone."""
        del spread
        logarithm = outputs.squeeze(1).clamp(-LIMIT, LIMIT)
        ratio = logarithm.sigmoid() / (-logarithm).sigmoid()
        return (ratio - target / location * logarithm).mean()

    def predict(self, outputs: "Tensor", location: "Tensor", spread: "Tensor") -> "Tensor":
        """The expected count."""
        del spread
        logarithm = outputs.squeeze(1).clamp(-LIMIT, LIMIT)
        return logarithm.sigmoid() / (-logarithm).sigmoid() * location

    def to_onnx(self, graph: "Graph", outputs: str, scale: tuple[float, float]) -> str:
        """Squeeze, Clip, Exp, Mul: ONNX Runtime's Sigmoid is too coarse to divide by."""
        low, high, mean = (
            graph.constant(np.array(value, np.float32)) for value in (-LIMIT, LIMIT, scale[0])
        )
        logarithm = graph.add("Clip", graph.add("Squeeze", outputs, graph.constant([1])), low, high)
        return graph.add("Mul", graph.add("Exp", logarithm), mean)

    def linear(self) -> Any:
        """Poisson regression with a logarithmic link."""
        from sklearn.linear_model import PoissonRegressor

        return PoissonRegressor(alpha=1e-3, max_iter=1000)

    def estimate(self, estimator: Any, rows: Any) -> np.ndarray:
        """(N,) rates."""
        return np.asarray(estimator.predict(rows))

    def row_loss(self, name: str, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Poisson deviance, squared or absolute error."""
        losses: np.ndarray
        if name == "poisson_deviance":
            rate = np.maximum(prediction, CLIP)
            losses = 2 * (_x_log_y(target, target / rate) - target + rate)
        elif name == "squared_error":
            losses = (prediction - target) ** 2
        elif name == "absolute_error":
            losses = np.abs(prediction - target)
        else:
            raise unknown_loss(self, name)
        return losses

    def scorer(self, target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> Scorer:
        """Mean deviance, the share of it that is explained, mean absolute error, bias."""
        count = target.astype(np.float64)
        means = block_means(
            blocks,
            poisson_deviance=self.row_loss("poisson_deviance", count, prediction),
            mae=np.abs(prediction - count),
            bias=prediction - count,
            count=count,
            logarithm=_x_log_y(count, count),
        )

        def one(counts: np.ndarray) -> Scores:
            mean = means(counts)
            # The deviance of a constant rate, multiplied out.
            average = np.array(mean["count"])
            constant = 2 * (mean["logarithm"] - float(_x_log_y(average, average)))
            return {
                "poisson_deviance": mean["poisson_deviance"],
                "d2": 1 - mean["poisson_deviance"] / constant if constant > 0 else None,
                "mae": mean["mae"],
                "bias": mean["bias"],
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

    def in_range(self, prediction: np.ndarray) -> np.ndarray:
        """Finite and not negative."""
        possible: np.ndarray = super().in_range(prediction) & (prediction >= 0).all(axis=1)
        return possible


def _x_log_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """X log y, 0 where x is 0."""
    product: np.ndarray = x * np.log(np.where(x > 0, y, 1.0))
    return product


TASK = Counts()
