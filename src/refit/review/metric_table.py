"""The table of metrics: the version, its rival and the baselines side by side.

Wherever it is possible, all models are measured on the same rows. The rival's intervals come from
fewer resamples than those that the evaluation computed, which keeps the page cheap to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from refit.core import files
from refit.evaluation.bootstrap import bootstrap
from refit.review import estimate
from refit.review.estimate import Estimate
from refit.review.formatting import metric_title
from refit.review.pair import Pair
from refit.review.stored import StoredVersion
from refit.tasks.catalog import find as find_task
from refit.tasks.task import Task

Metrics = Mapping[str, Mapping[str, float | None]]
"""Metrics of one model by name, each with its interval, as metrics.json stores them."""
RESAMPLES = 200
"""Bootstrap samples behind intervals that are computed for the review."""
LINEAR = "linear baseline"
LABELS = {"linear": LINEAR, "boosted": "boosted trees"}
"""What the baselines are called; any other model keeps its name."""
WITHOUT_DIRECTION = frozenset({"prevalence", "bias"})
"""Metrics of which neither a high nor a low value is better."""
REPORTED_AS = {"squared_error": "rmse", "absolute_error": "mae"}
"""The metric that reports a row-wise loss, if it has another name."""


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of every model."""

    name: str
    title: str
    better: str
    """`higher`, `lower`, or empty if neither is better."""
    models: tuple[tuple[str, Estimate], ...]
    """By label: the version, its rival, then the others."""


@dataclass(frozen=True, kw_only=True)
class MetricTable:
    """Metrics of the version, its rival and the baselines."""

    rows: tuple[MetricRow, ...]
    same_rows: bool
    """Whether all models were measured on the same rows."""


def table(
    version: StoredVersion, rival: StoredVersion | None, pair: Pair | None, labels: tuple[str, str]
) -> MetricTable:
    """The metrics of all models; those of different rows only if there are no common ones.

    Args:
        version: under review.
        rival: what it was compared with; None stands for the linear baseline, or for a version
            that was deleted.
        pair: the rows that both were scored on.
        labels: of the version and of its rival.
    """
    models = _models(version)
    if pair is not None:
        if is_restricted(version, pair) or labels[0] not in models:
            models = {labels[0]: candidate_metrics(version, pair)}
        if labels[1] not in models:
            models[labels[1]] = _measured(version, pair, rival=True)
        return MetricTable(rows=_rows(models, labels, _task(version)), same_rows=True)
    separate = _models(rival).get(labels[1]) if rival is not None else None
    if separate is None:
        return MetricTable(rows=_rows(models, labels, _task(version)), same_rows=True)
    alone = {name: metrics for name, metrics in models.items() if name == labels[0]}
    rows = _rows({**alone, labels[1]: separate}, labels, _task(version))
    return MetricTable(rows=rows, same_rows=False)


def candidate_metrics(version: StoredVersion, pair: Pair) -> Metrics:
    """The version's metrics on the rows of the pair."""
    return _measured(version, pair, rival=False)


def is_restricted(version: StoredVersion, pair: Pair) -> bool:
    """Whether the pair has fewer rows than the holdout that was evaluated."""
    return version.metrics is not None and pair.rows.height != version.metrics["rows"]


def _models(version: StoredVersion) -> dict[str, Metrics]:
    """The models of metrics.json by their labels."""
    labels = LABELS | ({version.model: version.label} if version.model else {})
    models = version.metrics["models"] if version.metrics else {}
    return {labels.get(name, name): metrics for name, metrics in models.items()}


def _task(version: StoredVersion) -> Task | None:
    return find_task(version.signature["task"]) if version.signature else None


def _rows(
    models: Mapping[str, Metrics], labels: tuple[str, str], task: Task | None
) -> tuple[MetricRow, ...]:
    order = dict.fromkeys([*(label for label in labels if label in models), *models])
    return tuple(
        MetricRow(
            name=name,
            title=metric_title(name),
            better=_better(task, name),
            models=tuple((label, estimate.from_json(models[label].get(name))) for label in order),
        )
        for name in next(iter(models.values()), {})
    )


def _better(task: Task | None, name: str) -> str:
    if task is None or name in WITHOUT_DIRECTION:
        return ""
    return "higher" if name in task.higher_is_better else "lower"


def _measured(version: StoredVersion, pair: Pair, *, rival: bool) -> Metrics:
    confidence, seed = version.intervals
    intervals = bootstrap(
        pair.task,
        pair.target,
        pair.rival if rival else pair.candidate,
        pair.blocks,
        resamples=RESAMPLES,
        confidence=confidence,
        seed=seed,
    )
    metrics: Metrics = files.rounded(
        {
            name: {"value": each.value, "lower": each.lower, "upper": each.upper}
            for name, each in intervals.items()
        }
    )
    return metrics
