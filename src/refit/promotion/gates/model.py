"""Gates: the model's predictions are in range, equal to those in training, and always the same."""

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.evaluation.predictions import TOLERANCE, as_table, largest_difference
from refit.promotion.gate import Gate
from refit.promotion.scored import ScoredCandidate
from refit.serving import answers
from refit.tasks.task import Task

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

SAMPLE = 128
"""Rows, spread evenly over the holdout, that are predicted in different ways."""
ODD_BATCH = 37
"""Rows of a batch; it does not divide the sample, so that the last batch is smaller."""


def gates(scored: ScoredCandidate) -> tuple[Gate, ...]:
    """Predictions in range, equal to training, and equal in batches, by row and served."""
    return (
        in_range("predictions in range", scored.task, scored.all_predictions),
        equals_training(
            "bundle equals training", scored.all_predictions, scored.expected_predictions
        ),
        _equals_batch(scored),
    )


def in_range(name: str, task: Task, predicted: np.ndarray) -> Gate:
    """Fails when a prediction (N,) or (N, K) is not possible."""
    wrong = ~task.in_range(as_table(predicted))
    kind = task.predictions
    return Gate(
        name=name,
        group="model",
        result="fail" if wrong.any() else "pass" if len(wrong) else "not enough evidence",
        summary=f"{np.count_nonzero(~wrong):,} of {len(wrong):,} predictions are finite {kind}",
        measured=int(wrong.sum()),
        limit=0,
        unit="rows out of range",
        rows=len(wrong),
    )


def equals_training(name: str, predicted: np.ndarray, expected: np.ndarray) -> Gate:
    """Fails when the bundle's predictions (N,) or (N, K) are not the model's own."""
    return _equal(
        name,
        largest_difference(predicted, expected),
        "the bundle's predictions from raw columns, compared with the predictions in training",
        len(predicted),
    )


def _equals_batch(scored: ScoredCandidate) -> Gate:
    name, height = "served equals batch", scored.all_rows.height
    if not height:
        return _equal(name, math.nan, "there are no rows to predict", 0)
    rows = scored.all_rows[np.unique(np.linspace(0, height - 1, SAMPLE).astype(int))]
    predict = partial(answers.predict, scored.candidate)
    batch = predict(rows)
    ways = {
        "odd batches": [predict(part) for part in rows.iter_slices(ODD_BATCH)],
        "row by row": [predict(row) for row in rows.iter_slices(1)],
        "served": [serve(scored.candidate, each) for each in requests(rows, scored.candidate)],
    }
    distances = {
        way: largest_difference(np.concatenate(parts), batch) for way, parts in ways.items()
    }
    largest = max(distances.values(), key=lambda d: math.inf if math.isnan(d) else d)
    listed = ", ".join(f"{way} {d:.1g}" for way, d in distances.items())
    return _equal(name, largest, f"largest difference from one batch: {listed}", rows.height)


def requests(rows: pl.DataFrame, model: "Bundle") -> list[str]:
    """The JSON object that a client sends for each row: the model's columns, null if missing."""
    names = [entry["name"] for entry in model.signature["inputs"]]
    return [json.dumps({k: _plain(v) for k, v in row.items()}) for row in rows[names].to_dicts()]


def serve(model: "Bundle", request: str) -> np.ndarray:
    """(1,) or (1, K) the prediction for one such object, as a server would make it."""
    row: Mapping[str, Any] = json.loads(request)
    types = {
        entry["name"]: pl.String if entry["type"] == "string" else pl.Float64
        for entry in model.signature["inputs"]
    }
    return answers.predict(model, pl.DataFrame([dict(row)], schema=types))


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _equal(name: str, largest: float, summary: str, rows: int) -> Gate:
    """Fails when the largest difference is above the tolerance or NaN."""
    return Gate(
        name=name,
        group="model",
        result="pass" if largest <= TOLERANCE else "fail" if rows else "not enough evidence",
        summary=summary,
        measured=None if math.isnan(largest) else largest,
        limit=TOLERANCE,
        unit="largest difference",
        rows=rows,
    )
