"""The model itself: its numbers, the same ones as in training, and the same however it is asked."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.evaluation.predictions import TOLERANCE
from refit.promotion.gate import Gate
from refit.promotion.scoring import Scored, rows_of

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

SAMPLE = 128
"""Rows, spread evenly over the holdout, that are asked in different ways."""
ODD = 37
"""A batch size that divides nothing, so that the last batch is a small one."""


def gates(case: Scored) -> tuple[Gate, ...]:
    """In range, equal to the training path, equal in batches, by row and served."""
    return (_in_range(case), _as_trained(case), _as_asked(case))


def _in_range(case: Scored) -> Gate:
    predicted = rows_of(case.predicted)
    wrong = ~case.task.in_range(predicted)
    kind = case.task.predictions
    return Gate(
        name="predictions in range",
        group="model",
        result="fail" if wrong.any() else "pass" if len(wrong) else "not enough evidence",
        said=f"{np.count_nonzero(~wrong):,} of {len(wrong):,} predictions are finite {kind}",
        measured=int(wrong.sum()),
        limit=0,
        unit="rows out of range",
        rows=len(wrong),
    )


def _as_trained(case: Scored) -> Gate:
    said = "the bundle's predictions from raw columns against the model's where it was trained"
    worst = distance(case.predicted, case.expected)
    return _equal("bundle equals training", worst, said, case.whole.height)


def _as_asked(case: Scored) -> Gate:
    name, height = "served equals batch", case.whole.height
    if not height:
        return _equal(name, math.nan, "there is no row to ask about", 0)
    rows = case.whole[np.unique(np.linspace(0, height - 1, SAMPLE).astype(int))]
    ask = case.candidate.predict
    batch = ask(rows)
    ways = {
        "odd batches": [ask(piece) for piece in rows.iter_slices(ODD)],
        "row by row": [ask(row) for row in rows.iter_slices(1)],
        "served": [serve(case.candidate, line) for line in requests(rows, case.candidate)],
    }
    far = {way: distance(np.concatenate(found), batch) for way, found in ways.items()}
    worst = max(far.values(), key=lambda d: math.inf if math.isnan(d) else d)
    shown = ", ".join(f"{way} {found:.1g}" for way, found in far.items())
    return _equal(name, worst, f"against one batch: {shown}", rows.height)


def requests(rows: pl.DataFrame, model: "Bundle") -> list[str]:
    """Each row as the JSON object that a caller sends: the model's columns, null if missing."""
    names = [entry["name"] for entry in model.signature["inputs"]]
    return [json.dumps({k: _plain(v) for k, v in row.items()}) for row in rows[names].to_dicts()]


def serve(model: "Bundle", request: str) -> np.ndarray:
    """(1,) or (1, K) the answer to one such object, through JSON, as a server would give it."""
    row: Mapping[str, Any] = json.loads(request)
    kinds = {
        entry["name"]: pl.String if entry["type"] == "string" else pl.Float64
        for entry in model.signature["inputs"]
    }
    return model.predict(pl.DataFrame([dict(row)], schema=kinds))


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative above 1; NaN where a number is missing on one side."""
    if not len(expected):
        return math.nan
    scale = np.maximum(np.abs(expected), 1)
    with np.errstate(invalid="ignore"):
        return float(np.max(np.abs(found.astype(np.float64) - expected) / scale))


def _equal(name: str, worst: float, said: str, rows: int) -> Gate:
    """Fails above the tolerance, and where the difference of two answers is no number."""
    return Gate(
        name=name,
        group="model",
        result="pass" if worst <= TOLERANCE else "fail" if rows else "not enough evidence",
        said=said,
        measured=None if math.isnan(worst) else worst,
        limit=TOLERANCE,
        unit="largest difference",
        rows=rows,
    )
