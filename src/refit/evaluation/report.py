"""What the holdout says of a model: metrics with intervals, slices, thresholds, plots.

Every number is of rows newer than all rows that trained it. Thresholds are chosen on the validation
part and only applied to the holdout, so that no choice has seen the rows it is judged by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from refit.core.params import param
from refit.dataset import Roles
from refit.evaluation import metrics

FEWEST_BLOCKS = 10
"""A slice in fewer blocks is flagged as small: its intervals are too narrow to trust."""


@dataclass(frozen=True, kw_only=True)
class EvaluateParams:
    """Section `evaluate` of params.yaml."""

    resamples: int = param("bootstrap samples behind each interval", minimum=100)
    confidence: float = param("coverage of the intervals", minimum=0.5, maximum=0.999)
    seed: int = param("seed of the bootstrap", minimum=0)
    block: str = param("rows resampled together: `1d`, `6h`, `1w`, or `10i` of an integer time")
    smallest_slice: int = param("rows below which a slice is flagged as small", minimum=1)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Targets and predictions of one part of the split."""

    target: np.ndarray
    """(N,) 0/1, class numbers, or values."""
    predictions: Mapping[str, np.ndarray]
    """By model (`network`, `linear`, `boosted`): (N,) or (N, K) float64."""


def judge(
    roles: Roles, holdout: Judged, blocks: np.ndarray, settings: EvaluateParams
) -> dict[str, Any]:
    """Every model's metrics with intervals, on the same holdout rows and resamples."""
    return {
        name: {
            metric: {"value": i.value, "lower": i.lower, "upper": i.upper}
            for metric, i in metrics.bootstrap(
                roles.task,
                holdout.target,
                prediction,
                blocks,
                resamples=settings.resamples,
                confidence=settings.confidence,
                seed=settings.seed,
            ).items()
        }
        for name, prediction in holdout.predictions.items()
    }


def prediction_columns(
    predictions: Mapping[str, np.ndarray], classes: tuple[str, ...]
) -> dict[str, pl.Series]:
    """Predictions as columns: `network`, or `network_CLASS` for each class."""
    columns: dict[str, pl.Series] = {}
    for name, values in predictions.items():
        if values.ndim == 1:
            columns[name] = pl.Series(values.astype(np.float32))
            continue
        for number, word in enumerate(classes):
            columns[f"{name}_{word}"] = pl.Series(values[:, number].astype(np.float32))
    return columns


def thresholds(roles: Roles, validation: Judged) -> dict[str, float]:
    """The probability from which a row is called positive: best F1 on the validation part.

    Only binary tasks have one.
    """
    if roles.task != "binary":
        return {}
    prediction = validation.predictions["network"]
    order = np.argsort(-prediction, kind="stable")
    hits = np.cumsum(validation.target[order])
    called = np.arange(1, len(order) + 1)
    f1 = 2 * hits / (called + max(hits[-1], 1))
    ranked = prediction[order]
    ends = np.append(ranked[1:] != ranked[:-1], True)
    best = int(np.argmax(np.where(ends, f1, -1)))
    return {"best_f1": float(ranked[best])}


def at_threshold(judged: Judged, threshold: float) -> dict[str, float]:
    """Precision, recall, F1 and the four counts of the network's calls on binary rows."""
    called, true = judged.predictions["network"] >= threshold, judged.target > 0.5
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


def report(
    roles: Roles,
    holdout: Judged,
    blocks: np.ndarray,
    chosen: Mapping[str, float],
    settings: EvaluateParams,
) -> dict[str, Any]:
    """metrics.json: every model's metrics, and the network's calls at each threshold."""
    return {
        "rows": len(blocks),
        "blocks": int(blocks.max()) + 1,
        "models": judge(roles, holdout, blocks, settings),
        "thresholds": {name: at_threshold(holdout, value) for name, value in chosen.items()},
    }


def slices(
    roles: Roles,
    examples: pl.DataFrame,
    holdout: Judged,
    blocks: np.ndarray,
    settings: EvaluateParams,
) -> list[dict[str, Any]]:
    """The network's metrics in every value of every slice column, small slices flagged."""
    rows = []
    for column in roles.slices:
        labels = examples[column].cast(pl.String).fill_null("missing")
        for value in labels.unique().sort():
            chosen = (labels == value).to_numpy()
            inside = Judged(
                target=holdout.target[chosen],
                predictions={"network": holdout.predictions["network"][chosen]},
            )
            dense = np.unique(blocks[chosen], return_inverse=True)[1]
            rows.append(
                {
                    "slice": column,
                    "value": value,
                    "rows": int(chosen.sum()),
                    "blocks": int(dense.max()) + 1,
                    "small": int(chosen.sum()) < settings.smallest_slice
                    or int(dense.max()) + 1 < FEWEST_BLOCKS,
                    "metrics": judge(roles, inside, dense, settings)["network"],
                }
            )
    return rows


def summary(report_: Mapping[str, Any]) -> str:
    """A line for each model: its metrics with intervals."""
    lines = [f"holdout: {report_['rows']:,} rows in {report_['blocks']} blocks"]
    for name, found in report_["models"].items():
        shown = ", ".join(
            f"{metric} {i['value']:.4f} [{i['lower']:.4f}, {i['upper']:.4f}]"
            for metric, i in found.items()
            if i["value"] is not None
        )
        lines.append(f"{name}: {shown}")
    return "\n".join(lines)
