"""The points that the charts draw: calibration, ROC and residuals of both models."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from refit.review.pair import Pair
from refit.tasks import plot_tables

RESIDUAL_BINS = 30


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a chart: points (x, y) of a model, or of one of its classes."""

    label: str
    candidate: bool
    """Whether it is of the version; otherwise it is of its rival."""
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ChartData:
    """What the charts draw."""

    axes: tuple[str, str]
    """Labels of the calibration chart."""
    calibration: tuple[Line, ...]
    roc: tuple[Line, ...]
    residuals: tuple[Line, ...]


def chart_data(pair: Pair) -> ChartData:
    """The lines of both models, on the same rows."""
    probabilities = pair.task.calibrated(pair.target, pair.candidate) is not None
    sides = (True, False)
    return ChartData(
        axes=pair.task.calibration_axes,
        calibration=tuple(_calibration(pair, candidate=side) for side in sides),
        roc=tuple(line for side in sides for line in _roc(pair, candidate=side)),
        residuals=() if probabilities else _residuals(pair),
    )


def _side(pair: Pair, *, candidate: bool) -> tuple[str, np.ndarray]:
    """Label and predictions of one of the two models."""
    label, rival = pair.labels
    return (label, pair.candidate) if candidate else (rival, pair.rival)


def _calibration(pair: Pair, *, candidate: bool) -> Line:
    label, predictions = _side(pair, candidate=candidate)
    observed = pair.task.calibrated(pair.target, predictions) or (pair.target, predictions)
    points = plot_tables.calibration(*observed)
    return _line(label, points, "predicted", "observed", candidate=candidate)


def _roc(pair: Pair, *, candidate: bool) -> list[Line]:
    label, predictions = _side(pair, candidate=candidate)
    return [
        _line(
            f"{label}, {name}" if name else label,
            points,
            "false_positive_rate",
            "true_positive_rate",
            candidate=candidate,
        )
        for name, points in pair.task.roc_curves(pair.classes, pair.target, predictions).items()
    ]


def _residuals(pair: Pair) -> tuple[Line, ...]:
    """Shares of the rows by residual (prediction minus target), in the same bins for both."""
    residuals = [pair.candidate - pair.target, pair.rival - pair.target]
    low, high = np.quantile(np.concatenate(residuals), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, RESIDUAL_BINS + 1)
    centres = tuple(((edges[:-1] + edges[1:]) / 2).tolist())
    return tuple(
        Line(
            label=label,
            candidate=candidate,
            x=centres,
            y=tuple((np.histogram(np.clip(side, low, high), edges)[0] / len(side)).tolist()),
        )
        for label, candidate, side in zip(pair.labels, (True, False), residuals, strict=True)
    )


def _line(label: str, points: pl.DataFrame, x: str, y: str, *, candidate: bool) -> Line:
    return Line(label=label, candidate=candidate, x=tuple(points[x]), y=tuple(points[y]))
