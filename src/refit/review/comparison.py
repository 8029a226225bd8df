"""What the evaluation and the scored rows say: metrics, slices and curves, own beside rival's.

Everything that stands side by side is of the same rows. The rival's intervals come from fewer
resamples than the version's own, which its evaluation had computed: drawing a page stays cheap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from refit.core import files
from refit.evaluation import paired_bootstrap
from refit.evaluation.bootstrap import bootstrap
from refit.evaluation.predictions import from_columns, stored_classes
from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion import evidence
from refit.tasks import plot_tables
from refit.tasks.catalog import find as find_task
from refit.tasks.task import Task

RESAMPLES = 200
"""Bootstrap samples behind a rival's intervals."""
HIGHER = frozenset({"roc_auc", "pr_auc", "accuracy", "macro_f1", "macro_roc_auc", "r2"})
LOWER = frozenset(
    {"log_loss", "brier", "ece", "rmse", "mae", "median_absolute_error"},
)
TITLES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "macro_roc_auc": "ROC AUC, mean over classes",
    "macro_f1": "F1, mean over classes",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "median_absolute_error": "median absolute error",
    "r2": "R²",
}
REPORTED_AS = {"squared_error": "rmse", "absolute_error": "mae"}
"""The metric that reports what a row-wise loss measures, where its name is another."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval; None where it is not defined."""

    value: float | None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """A metric of every model on the same rows."""

    name: str
    title: str
    better: str
    """`higher`, `lower`, or empty where neither is."""
    models: tuple[tuple[str, Estimate], ...]


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """A slice: the version's own metric, and how much better it is than its rival there."""

    column: str
    value: str
    rows: int
    blocks: int
    small: bool
    metric: Estimate
    gain: Estimate


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a chart: points (x, y) of a model, or of one of its classes."""

    label: str
    mine: bool
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What the charts draw."""

    axes: tuple[str, str]
    """Labels of the calibration plot."""
    calibration: tuple[Line, ...]
    roc: tuple[Line, ...]
    residuals: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Predictions of a version and of its rival on the same N rows."""

    task: Task
    classes: tuple[str, ...]
    labels: tuple[str, str]
    rows: pl.DataFrame
    """With the columns `target` and `block`."""
    own: np.ndarray
    """(N,) or (N, K)"""
    rival: np.ndarray

    def swapped(self) -> "Pair":
        """The same rows, the two the other way round."""
        own, rival = self.labels
        return replace(self, labels=(rival, own), own=self.rival, rival=self.own)

    @property
    def target(self) -> np.ndarray:
        """(N,) as numbers."""
        return self.rows["target"].to_numpy().astype(np.float64)

    @property
    def blocks(self) -> np.ndarray:
        """(N,) block numbers from 0 without gaps."""
        return dense(self.rows["block"].to_numpy())


def pair(scored: pl.DataFrame, signature: Mapping[str, Any], labels: tuple[str, str]) -> Pair:
    """The rows that a decision was made on, see refit.promotion.evidence."""
    own, rival = (
        from_columns(scored, who, stored_classes(scored, who))
        for who in (evidence.CANDIDATE, evidence.RIVAL)
    )
    return Pair(
        task=find_task(signature["task"]),
        classes=tuple(signature["classes"]),
        labels=labels,
        rows=scored,
        own=own,
        rival=rival,
    )


def dense(blocks: np.ndarray) -> np.ndarray:
    """(N,) the same blocks, numbered from 0 without gaps."""
    return np.unique(blocks, return_inverse=True)[1]


def metric_rows(
    own: Mapping[str, Any],
    labels: Mapping[str, str],
    rival: str,
    beside: Mapping[str, Any] | None,
) -> tuple[MetricRow, ...]:
    """Every metric, with an estimate for each model: the version, its rival, the others.

    Args:
        own: the models of metrics.json.
        labels: what to call them; others keep their names.
        rival: the name of the rival.
        beside: its metrics, where they are not among `own`.
    """
    models = {labels.get(name, name): found for name, found in own.items()}
    if beside is not None:
        models[rival] = beside
    first = [name for name in (labels["network"], rival) if name in models]
    order = [*first, *(name for name in models if name not in first)]
    return tuple(
        MetricRow(
            name=name,
            title=title(name),
            better="higher" if name in HIGHER else "lower" if name in LOWER else "",
            models=tuple((model, estimate(models[model].get(name))) for model in order),
        )
        for name in next(iter(own.values()), {})
    )


def title(name: str) -> str:
    """A metric's name for people."""
    return TITLES.get(name, name.replace("_", " "))


def estimate(found: Mapping[str, Any] | None) -> Estimate:
    """An interval of metrics.json."""
    found = found or {}
    return Estimate(
        value=found.get("value"),
        lower=found.get("lower"),
        upper=found.get("upper"),
    )


def rival_metrics(both: Pair, confidence: float, seed: int) -> dict[str, dict[str, float | None]]:
    """The rival's metrics on the pair's rows, as metrics.json has them."""
    return _metrics(both, both.rival, confidence, seed)


def own_metrics(both: Pair, confidence: float, seed: int) -> dict[str, dict[str, float | None]]:
    """The version's own metrics on the pair's rows."""
    return _metrics(both, both.own, confidence, seed)


def _metrics(
    both: Pair,
    prediction: np.ndarray,
    confidence: float,
    seed: int,
) -> dict[str, dict[str, float | None]]:
    found = bootstrap(
        both.task,
        both.target,
        prediction,
        both.blocks,
        resamples=RESAMPLES,
        confidence=confidence,
        seed=seed,
    )
    told: dict[str, dict[str, float | None]] = files.rounded(
        {name: {"value": i.value, "lower": i.lower, "upper": i.upper} for name, i in found.items()}
    )
    return told


def resliced(
    listed: Sequence[Mapping[str, Any]], both: Pair, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Slices as slices.json has them, but of the pair's rows alone; those without rows go."""
    found = []
    for entry in listed:
        inside = _inside(both, entry)
        if not inside.any():
            continue
        part = replace(
            both,
            rows=both.rows.filter(pl.Series(inside)),
            own=both.own[inside],
            rival=both.rival[inside],
        )
        blocks = int(part.blocks.max()) + 1
        counted = {
            "rows": part.rows.height,
            "blocks": blocks,
            "small": entry["small"] or blocks < FEWEST_BLOCKS,
            "metrics": own_metrics(part, confidence, seed),
        }
        found.append({**entry, **counted})
    return found


def _inside(both: Pair, entry: Mapping[str, Any]) -> np.ndarray:
    """(N,) whether a row is in the slice; none is where its column is not there."""
    if entry["slice"] not in both.rows.columns:
        return np.zeros(both.rows.height, dtype=bool)
    labels = both.rows[entry["slice"]].cast(pl.String).fill_null("missing")
    mask: np.ndarray = (labels == entry["value"]).to_numpy()
    return mask


def slice_rows(
    listed: Sequence[Mapping[str, Any]],
    metric: str,
    both: Pair | None,
    policy: Mapping[str, Any],
) -> tuple[SliceRow, ...]:
    """The slices of slices.json, each with the gain over the rival where both were scored.

    Args:
        listed: slices.json.
        metric: the row-wise loss that decides.
        both: the scored rows.
        policy: `confidence`, `resamples` and `seed` of the comparison.
    """
    shown = REPORTED_AS.get(metric, metric)
    lost = None if both is None else row_losses(both, metric)
    return tuple(
        SliceRow(
            column=found["slice"],
            value=found["value"],
            rows=found["rows"],
            blocks=found["blocks"],
            small=found["small"],
            metric=estimate(found["metrics"].get(shown)),
            gain=_gain(both, lost, found, policy),
        )
        for found in listed
    )


def row_losses(both: Pair, metric: str) -> np.ndarray:
    """(2, N) of the version and of its rival."""
    return np.stack(
        [both.task.row_loss(metric, both.target, one) for one in (both.own, both.rival)],
    )


def _gain(
    both: Pair | None,
    lost: np.ndarray | None,
    found: Mapping[str, Any],
    policy: Mapping[str, Any],
) -> Estimate:
    if both is None or lost is None:
        return Estimate(value=None)
    inside = _inside(both, found)
    if not inside.any():
        return Estimate(value=None)
    return gain(lost[:, inside], both.blocks[inside], policy)


def gain(
    lost: np.ndarray, blocks: np.ndarray, policy: Mapping[str, Any], noise: float = 0.0
) -> Estimate:
    """How much smaller the own loss is, by the comparison that decides.

    Args:
        lost: (2, N) losses of the version and of its rival.
        blocks: (N,) block numbers.
        policy: of the comparison.
        noise: standard deviation of the difference over other seeds.

    Returns:
        Without bounds where there are too few blocks for any.
    """
    found = paired_bootstrap.paired(
        lost[0],
        lost[1],
        dense(blocks),
        resamples=int(policy["resamples"]),
        confidence=float(policy["confidence"]),
        seed=int(policy["seed"]),
        neighbours=int(policy["neighbours"]),
        noise=noise,
    )
    if found.blocks < FEWEST_BLOCKS:
        return Estimate(value=found.difference)
    return Estimate(value=found.difference, lower=found.lower, upper=found.upper)


def draw(both: Pair) -> Curves:
    """The curves of both on the same rows."""
    sides = (
        (both.labels[0], True, both.own),
        (both.labels[1], False, both.rival),
    )
    return Curves(
        axes=both.task.calibration_axes,
        calibration=tuple(_calibration(both, *side) for side in sides),
        roc=tuple(line for side in sides for line in _roc(both, *side)),
        residuals=() if both.task.calibrated(both.target, both.own) else _residuals(both),
    )


def _calibration(both: Pair, label: str, mine: bool, values: np.ndarray) -> Line:  # noqa: FBT001
    observed = both.task.calibrated(both.target, values) or (both.target, values)
    return _line(label, mine, plot_tables.calibration(*observed), "predicted", "observed")


def _roc(both: Pair, label: str, mine: bool, values: np.ndarray) -> list[Line]:  # noqa: FBT001
    columns = ("false_positive_rate", "true_positive_rate")
    curves = both.task.roc_curves(both.classes, both.target, values)
    return [
        _line(f"{label}, {name}" if name else label, mine, curve, *columns)
        for name, curve in curves.items()
    ]


def _residuals(both: Pair) -> tuple[Line, ...]:
    """Shares of the rows by residual (prediction less target), in bins that both share."""
    found = [both.own - both.target, both.rival - both.target]
    low, high = np.quantile(np.concatenate(found), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 31)
    middle = tuple(((edges[:-1] + edges[1:]) / 2).tolist())
    return tuple(
        Line(
            label=label,
            mine=mine,
            x=middle,
            y=tuple((np.histogram(np.clip(one, low, high), edges)[0] / len(one)).tolist()),
        )
        for label, mine, one in zip(both.labels, (True, False), found, strict=True)
    )


def _line(label: str, mine: bool, table: pl.DataFrame, x: str, y: str) -> Line:  # noqa: FBT001
    return Line(label=label, mine=mine, x=tuple(table[x]), y=tuple(table[y]))
