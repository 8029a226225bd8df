"""Classification among several classes: the probability of each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.core.errors import DataError
from refit.tasks import plot_tables
from refit.tasks.statistics import Calibration, Ranking, block_means, by_block, log_losses
from refit.tasks.task import Scorer, Scores, Task, unknown_loss

if TYPE_CHECKING:
    from torch import Tensor

    from refit.serving.onnx_graph import Graph

SUM_TOLERANCE = 1e-5
"""How far the probabilities of a row may be from adding up to 1."""


class Multiclass(Task):
    """Target a class's name; K outputs, the logits; predictions are K probabilities."""

    name = "multiclass"
    row_losses = ("log_loss", "brier")
    higher_is_better = frozenset({"accuracy", "macro_f1", "macro_roc_auc"})
    predictions = "probabilities"
    boosting_objective = "multiclass"
    calibration_axes = ("confidence in the likeliest class", "share that was right")

    def accepts(self, dtype: pl.DataType) -> bool:
        """Text."""
        return dtype == pl.String

    def classes(self, target: pl.Series) -> tuple[str, ...]:
        """The names in alphabetical order."""
        return tuple(target.unique().sort())

    def encode(self, target: pl.Series, classes: tuple[str, ...]) -> np.ndarray:
        """(N,) int64 class numbers."""
        unknown = target.filter(~target.is_in(classes)).unique().sort().to_list()
        if unknown:
            raise DataError(
                f"{len(unknown)} classes of the target appear only after the training rows",
                where=f"column {target.name}",
                got=", ".join(unknown[:5]),
                expected=f"the classes of the training rows: {', '.join(classes[:10])}",
                do="give training more partitions, or merge the classes in the dataset's examples",
            )
        numbers = {name: number for number, name in enumerate(classes)}
        return target.replace_strict(numbers, return_dtype=pl.Int64).to_numpy()

    def outputs(self, classes: int) -> int:
        """A logit for each class."""
        return classes

    def loss(
        self, outputs: "Tensor", target: "Tensor", location: "Tensor", spread: "Tensor"
    ) -> "Tensor":
        """Log loss."""
        del location, spread
        chosen = outputs.gather(1, target.unsqueeze(1)).squeeze(1)
        return (log_sum_exp(outputs) - chosen).mean()

    def predict(self, outputs: "Tensor", location: "Tensor", spread: "Tensor") -> "Tensor":
        """The softmax, as e^x = sigmoid(x) / sigmoid(-x), which has the same bits anywhere."""
        import torch

        del location, spread
        below = outputs - log_sum_exp(outputs).unsqueeze(1)
        return torch.sigmoid(below) / torch.sigmoid(-below)

    def to_onnx(self, graph: "Graph", outputs: str, scale: tuple[float, float]) -> str:
        """Softmax."""
        del scale
        return graph.add("Softmax", outputs, axis=1)

    def linear(self) -> Any:
        """Multinomial logistic regression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=1.0, max_iter=1000, tol=1e-3)

    def estimate(self, estimator: Any, rows: Any) -> np.ndarray:
        """(N, K) probabilities."""
        return np.asarray(estimator.predict_proba(rows))

    def row_loss(self, name: str, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Log loss or Brier score."""
        if name == "log_loss":
            return log_losses(prediction[np.arange(len(target)), target.astype(np.int64)])
        if name == "brier":
            truth = np.eye(prediction.shape[1])[target.astype(np.int64)]
            squared: np.ndarray = ((prediction - truth) ** 2).sum(axis=1)
            return squared
        raise unknown_loss(self, name)

    def scorer(self, target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> Scorer:
        """Losses, accuracy, macro F1, macro ROC AUC, and calibration of the chosen class."""
        count = prediction.shape[1]
        truth, chosen = target.astype(np.int64), prediction.argmax(axis=1)
        correct = (truth == chosen).astype(np.float64)
        means = block_means(
            blocks,
            log_loss=self.row_loss("log_loss", target, prediction),
            brier=self.row_loss("brier", target, prediction),
            accuracy=correct,
        )
        confusion = by_block(blocks, count**2, truth * count + chosen)
        rankings = [Ranking(truth == k, prediction[:, k], blocks) for k in range(count)]
        calibration = Calibration(correct, prediction.max(axis=1), blocks)

        def one(counts: np.ndarray, areas: list[float]) -> Scores:
            table = (counts @ confusion).reshape(count, count)
            return means(counts) | {
                "macro_f1": _macro_f1(table),
                "macro_roc_auc": sum(areas) / len(areas) if areas else None,
                "ece": calibration(counts),
            }

        def scores(drawn: np.ndarray) -> list[Scores]:
            by_class = zip(*(ranking(drawn) for ranking in rankings), strict=True)
            areas = ([area for area, _ in each if area is not None] for each in by_class)
            return [one(counts, each) for counts, each in zip(drawn, areas, strict=True)]

        return scores

    def plots(
        self,
        classes: tuple[str, ...],
        target: np.ndarray,
        prediction: np.ndarray,
        thresholds: Mapping[str, float],
    ) -> dict[str, pl.DataFrame]:
        """Calibration of the chosen class, ROC of each class against the others, confusion."""
        del thresholds
        truth, chosen = target.astype(np.int64), prediction.argmax(axis=1)
        return {
            "calibration": plot_tables.calibration(truth == chosen, prediction.max(axis=1)),
            "roc": pl.concat(
                curve.with_columns(pl.lit(name).alias("class"))
                for name, curve in self.roc_curves(classes, target, prediction).items()
            ),
            "confusion": plot_tables.confusion(truth, chosen, classes),
        }

    def roc_curves(
        self, classes: tuple[str, ...], target: np.ndarray, prediction: np.ndarray
    ) -> dict[str, pl.DataFrame]:
        """Each class against the others."""
        return {
            name: plot_tables.roc(target == number, prediction[:, number])
            for number, name in enumerate(classes)
        }

    def in_range(self, prediction: np.ndarray) -> np.ndarray:
        """Finite, between 0 and 1, and adding up to 1."""
        possible: np.ndarray = (
            super().in_range(prediction)
            & ((prediction >= 0) & (prediction <= 1)).all(axis=1)
            & (np.abs(prediction.sum(axis=1) - 1) <= SUM_TOLERANCE)
        )
        return possible

    def calibrated(
        self, target: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether the chosen class was right, and its probability."""
        right = (prediction.argmax(axis=1) == target).astype(np.float64)
        return right, prediction.max(axis=1)


def log_sum_exp(logits: "Tensor") -> "Tensor":
    """(B, K) -> (B,) log of the sum of exponentials, folded pair by pair through log-sigmoid.

    log(e^a + e^b) = max(a, b) - logsigmoid(|a - b|), which needs neither exp nor log, whose bits
    depend on the processor.
    """
    import torch
    from torch.nn import functional

    total = logits[:, 0]
    for column in logits.unbind(1)[1:]:
        distance = (total - column).abs()
        total = torch.maximum(total, column) - functional.logsigmoid(distance)
    return total


def _macro_f1(table: np.ndarray) -> float:
    """Mean F1 of the classes that occur or are predicted; table[truth, chosen]."""
    both = table.sum(axis=0) + table.sum(axis=1)
    present = both > 0
    return float(np.mean(2 * np.diag(table)[present] / both[present]))


TASK = Multiclass()
