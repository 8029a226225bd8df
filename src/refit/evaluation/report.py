"""The evaluation of candidate and baselines on the holdout: metrics with intervals, and slices.

The rows of the holdout are newer than all rows that trained the models. Thresholds are chosen on
the validation part and only applied to the holdout, so the holdout has no part in any choice.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from refit.core.params import param
from refit.evaluation.bootstrap import bootstrap
from refit.evaluation.predictions import Predictions
from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class EvaluateParams:
    """Section `evaluate` of params.yaml."""

    resamples: int = param("bootstrap samples behind each interval", minimum=100, maximum=100_000)
    confidence: float = param("coverage of the intervals", minimum=0.5, maximum=0.999)
    seed: int = param("seed of the bootstrap", minimum=0)
    block: str = param("rows resampled together: `1d`, `6h`, `1w`, or `10i` of an integer time")
    smallest_slice: int = param("rows below which a slice is flagged as small", minimum=1)


def metrics(
    task: Task,
    target: np.ndarray,
    prediction: np.ndarray,
    blocks: np.ndarray,
    settings: EvaluateParams,
) -> dict[str, dict[str, float | None]]:
    """Every metric of one model with its interval.

    Args:
        task: gives the metrics.
        target: (N,).
        prediction: (N,) or (N, K).
        blocks: (N,) block numbers from 0 without gaps.
        settings: the settings of the bootstrap.
    """
    intervals = bootstrap(
        task,
        target,
        prediction,
        blocks,
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    return {metric: asdict(interval) for metric, interval in intervals.items()}


def report(
    task: Task,
    holdout: Predictions,
    blocks: np.ndarray,
    thresholds: Mapping[str, float],
    settings: EvaluateParams,
) -> dict[str, Any]:
    """metrics.json: every model's metrics, and the candidate at each threshold."""
    candidate = holdout.models[holdout.candidate]
    return {
        "rows": len(blocks),
        "blocks": int(blocks.max()) + 1,
        "models": {
            name: metrics(task, holdout.target, prediction, blocks, settings)
            for name, prediction in holdout.models.items()
        },
        "thresholds": {
            name: task.at_threshold(holdout.target, candidate, value)
            for name, value in thresholds.items()
        },
    }


def slices(
    task: Task,
    holdout: Predictions,
    blocks: np.ndarray,
    settings: EvaluateParams,
    *,
    labels: Mapping[str, pl.Series],
) -> list[dict[str, Any]]:
    """slices.json: the candidate's metrics for every value of every slice column.

    Args:
        task: gives the metrics.
        holdout: predictions of N rows.
        blocks: (N,) block numbers of the same rows.
        settings: of the bootstrap, and the size below which a slice is flagged as small.
        labels: the slice columns by name, (N,) of the same rows.
    """
    candidate = holdout.models[holdout.candidate]
    rows = []
    for column, labels_of_rows in labels.items():
        values = labels_of_rows.cast(pl.String).fill_null("missing")
        for value in values.unique().sort():
            inside = (values == value).to_numpy()
            dense = np.unique(blocks[inside], return_inverse=True)[1]
            count, block_count = int(inside.sum()), int(dense.max()) + 1
            target, prediction = holdout.target[inside], candidate[inside]
            rows.append(
                {
                    "slice": column,
                    "value": value,
                    "rows": count,
                    "blocks": block_count,
                    "small": count < settings.smallest_slice or block_count < FEWEST_BLOCKS,
                    "metrics": metrics(task, target, prediction, dense, settings),
                }
            )
    return rows


def summary(evaluation: Mapping[str, Any]) -> str:
    """A line for each model: its metrics with intervals."""
    lines = [f"holdout: {evaluation['rows']:,} rows in {evaluation['blocks']} blocks"]
    for name, scores in evaluation["models"].items():
        shown = ", ".join(
            f"{metric} {i['value']:.4f} [{i['lower']:.4f}, {i['upper']:.4f}]"
            for metric, i in scores.items()
            if i["value"] is not None
        )
        lines.append(f"{name}: {shown}")
    return "\n".join(lines)
