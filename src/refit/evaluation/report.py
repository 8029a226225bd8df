"""What the holdout says of the candidate and the baselines: metrics with intervals, and slices.

Every number is of rows newer than all rows that trained the models. Thresholds are chosen on the
validation part and only applied to the holdout, so no choice has seen the rows it is judged by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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

    resamples: int = param("bootstrap samples behind each interval", minimum=100)
    confidence: float = param("coverage of the intervals", minimum=0.5, maximum=0.999)
    seed: int = param("seed of the bootstrap", minimum=0)
    block: str = param("rows resampled together: `1d`, `6h`, `1w`, or `10i` of an integer time")
    smallest_slice: int = param("rows below which a slice is flagged as small", minimum=1)


def metrics(
    task: Task, holdout: Predictions, blocks: np.ndarray, settings: EvaluateParams
) -> dict[str, Any]:
    """Every model's metrics with intervals, on the same holdout rows and resamples."""
    return {
        name: {
            metric: {
                "value": interval.value,
                "lower": interval.lower,
                "upper": interval.upper,
            }
            for metric, interval in bootstrap(
                task,
                holdout.target,
                prediction,
                blocks,
                resamples=settings.resamples,
                confidence=settings.confidence,
                seed=settings.seed,
            ).items()
        }
        for name, prediction in holdout.models.items()
    }


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
        "models": metrics(task, holdout, blocks, settings),
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
    """slices.json: the candidate's metrics in every value of every slice column.

    Args:
        task: gives the metrics.
        holdout: predictions of N rows.
        blocks: (N,) of the same rows.
        settings: say when a slice is flagged as small.
        labels: the slice columns by name, (N,) of the same rows.
    """
    rows = []
    for column, raw in labels.items():
        values = raw.cast(pl.String).fill_null("missing")
        for value in values.unique().sort():
            inside = (values == value).to_numpy()
            dense = np.unique(blocks[inside], return_inverse=True)[1]
            count, block_count = int(inside.sum()), int(dense.max()) + 1
            scores = metrics(task, holdout.only(inside), dense, settings)
            rows.append(
                {
                    "slice": column,
                    "value": value,
                    "rows": count,
                    "blocks": block_count,
                    "small": count < settings.smallest_slice or block_count < FEWEST_BLOCKS,
                    "metrics": scores[holdout.candidate],
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
