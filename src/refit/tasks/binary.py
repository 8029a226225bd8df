"""Binary classification: the probability that the target is 1."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.tasks import plot_tables
from refit.tasks.statistics import Calibration, Ranking, block_means, log_losses
from refit.tasks.task import Scorer, Scores, Task, unknown_loss

if TYPE_CHECKING:
    from torch import Tensor

    from refit.serving.onnx_graph import Graph


class Binary(Task):
    """Target 0 or 1 (or Boolean); one output, the logit; predictions are probabilities of 1."""

    name = "binary"
    row_losses = ("log_loss", "brier")
    higher_is_better = frozenset({"roc_auc", "pr_auc"})
    predictions = "probabilities"
    boosting_objective = "binary"
    calibration_axes = ("predicted probability", "observed share")

    def accepts(self, dtype: pl.DataType) -> bool:
        """A number or a Boolean."""
        return dtype.is_numeric() or dtype == pl.Boolean

    def target_errors(self, target: pl.Series) -> list[str]:
        """Values other than 0 and 1."""
        wrong = target.filter(~target.cast(pl.Float64).is_in([0.0, 1.0]))
        if wrong.is_empty():
            return []
        error = f"binary target {target.name} is neither 0 nor 1 in {len(wrong):,} rows"
        return [f"{error}, for example {wrong[0]}"]

    def loss(
        self, outputs: "Tensor", target: "Tensor", location: "Tensor", spread: "Tensor"
    ) -> "Tensor":
        """Log loss."""
        from torch.nn import functional

        del location, spread
        logit = outputs.squeeze(1)
        return (logit * (1 - target) - functional.logsigmoid(logit)).mean()

    def predict(self, outputs: "Tensor", location: "Tensor", spread: "Tensor") -> "Tensor":
        """The sigmoid of the logit."""
        del location, spread
        return outputs.squeeze(1).sigmoid()

    def to_onnx(self, graph: "Graph", outputs: str, scale: tuple[float, float]) -> str:
        """Squeeze, Sigmoid."""
        del scale
        return graph.add("Sigmoid", graph.add("Squeeze", outputs, graph.constant([1])))

    def linear(self) -> Any:
        """Logistic regression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=1.0, max_iter=1000, tol=1e-3)

    def estimate(self, estimator: Any, rows: Any) -> np.ndarray:
        """(N,) the probability of 1."""
        return np.asarray(estimator.predict_proba(rows))[:, 1]

    def row_loss(self, name: str, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Log loss or Brier score."""
        if name == "log_loss":
            return log_losses(np.where(target > 0.5, prediction, 1 - prediction))
        if name == "brier":
            squared: np.ndarray = (prediction - target) ** 2
            return squared
        raise unknown_loss(self, name)

    def scorer(self, target: np.ndarray, prediction: np.ndarray, blocks: np.ndarray) -> Scorer:
        """Areas under the ROC and precision-recall curves, calibration, losses, prevalence."""
        means = block_means(
            blocks,
            log_loss=self.row_loss("log_loss", target, prediction),
            brier=self.row_loss("brier", target, prediction),
            prevalence=target.astype(np.float64),
        )
        ranking = Ranking(target, prediction, blocks)
        calibration = Calibration(target, prediction, blocks)

        def scores(drawn: np.ndarray) -> list[Scores]:
            return [
                {"roc_auc": roc, "pr_auc": pr, "ece": calibration(counts), **means(counts)}
                for counts, (roc, pr) in zip(drawn, ranking(drawn), strict=True)
            ]

        return scores

    def plots(
        self,
        classes: tuple[str, ...],
        target: np.ndarray,
        prediction: np.ndarray,
        thresholds: Mapping[str, float],
    ) -> dict[str, pl.DataFrame]:
        """Calibration, ROC, precision and recall, and confusion at the best F1 threshold."""
        del classes
        called = (prediction >= thresholds["best_f1"]).astype(np.int64)
        return {
            "calibration": plot_tables.calibration(target, prediction),
            "roc": plot_tables.roc(target, prediction),
            "pr": plot_tables.precision_recall(target, prediction),
            "confusion": plot_tables.confusion(target.astype(np.int64), called, ("no", "yes")),
        }

    def roc_curves(
        self, classes: tuple[str, ...], target: np.ndarray, prediction: np.ndarray
    ) -> dict[str, pl.DataFrame]:
        """One curve."""
        del classes
        return {"": plot_tables.roc(target, prediction)}

    def thresholds(self, target: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        """The probability from which a row is called positive: the best F1 on validation."""
        order = np.argsort(-prediction, kind="stable")
        hits = np.cumsum(target[order])
        called = np.arange(1, len(order) + 1)
        f1 = 2 * hits / (called + max(hits[-1], 1))
        ranked = prediction[order]
        ends = np.append(ranked[1:] != ranked[:-1], True)
        best = int(np.argmax(np.where(ends, f1, -1)))
        return {"best_f1": float(ranked[best])}

    def at_threshold(
        self, target: np.ndarray, prediction: np.ndarray, threshold: float
    ) -> dict[str, float]:
        """Precision, recall, F1 and the four counts."""
        called, true = prediction >= threshold, target > 0.5
        hits, alarms, misses = (
            int((called & true).sum()),
            int((called & ~true).sum()),
            int((~called & true).sum()),
        )
        return {
            "threshold": threshold,
            "precision": hits / max(hits + alarms, 1),
            "recall": hits / max(hits + misses, 1),
            "f1": 2 * hits / max(2 * hits + alarms + misses, 1),
            "true_positive": hits,
            "false_positive": alarms,
            "false_negative": misses,
            "true_negative": len(true) - hits - alarms - misses,
        }

    def in_range(self, prediction: np.ndarray) -> np.ndarray:
        """Finite and between 0 and 1."""
        possible: np.ndarray = super().in_range(prediction) & (
            (prediction >= 0) & (prediction <= 1)
        ).all(axis=1)
        return possible

    def calibrated(
        self, target: np.ndarray, prediction: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The target and the probability of 1."""
        return target.astype(np.float64), prediction


TASK = Binary()
