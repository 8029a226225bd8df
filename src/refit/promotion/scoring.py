"""Scores candidate and rival on the same rows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from refit.core import paths
from refit.core.errors import ConfigError, DataError, PipelineError
from refit.dataset import PARTITION
from refit.evaluation.baselines import BASELINES, prediction_name
from refit.evaluation.predictions import Predictions, as_table, from_columns
from refit.evaluation.time_blocks import block_codes
from refit.promotion.candidate import Candidate
from refit.promotion.champion import Champion
from refit.promotion.evidence import CANDIDATE, RELEASE, RIVAL
from refit.promotion.scored import FIRST_RIVAL, LINEAR, ReleaseScores, ScoredCandidate, ScoredRows
from refit.serving import answers
from refit.tasks.catalog import find as find_task
from refit.tasks.task import Task

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

CANDIDATE_NAME = "the candidate"


def losses(metric: str, task: Task, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(N,) the loss of each row.

    Raises:
        ConfigError: the metric does not fit the task.
    """
    try:
        return task.row_loss(metric, target, predicted)
    except ValueError as error:
        raise ConfigError(
            str(error),
            where="params.yaml, `promote.metric`",
            expected=f"one of {', '.join(task.row_losses)}",
            do="set `promote.metric` to a loss of the task",
        ) from error


def score(candidate: Candidate, champion: Champion | None) -> ScoredCandidate:
    """Score candidate and rival on the holdout and, to search for slices, on the validation part.

    Args:
        candidate: the candidate, its pipeline up to date.
        champion: None before the first champion; the linear baseline takes its place.

    Raises:
        PipelineError: the evaluation is not of these holdout rows.
    """
    rows, stored = candidate.holdout, candidate.predictions
    require_same_rows(rows, stored)
    bundle = candidate.bundle.evaluated
    champion_bundle = None if champion is None else champion.bundle.evaluated
    release = _release(candidate, rows)
    model, classes = bundle.model, bundle.signature["classes"]
    baselines = {
        name: from_columns(stored, prediction_name(name, model), classes) for name in BASELINES
    }
    predictions, error = _predict(
        bundle, champion_bundle, rows, stored["target"].to_numpy(), baselines[FIRST_RIVAL]
    )
    if release is not None:
        own = _widened(release.predictions, classes, predictions.classes)
        predictions = replace(predictions, models={**predictions.models, RELEASE: own})
    holdout = ScoredRows(rows=rows, blocks=stored["block"].to_numpy(), predictions=predictions)
    trained_on = champion.trained_on if champion else frozenset[str]()
    unseen = ~rows[PARTITION].is_in(sorted(trained_on)).to_numpy()
    search = candidate.policy.found_slices > 0 and not error
    return ScoredCandidate(
        task=find_task(bundle.signature["task"]),
        candidate=candidate.bundle,
        champion=champion.bundle if champion else None,
        rival=LINEAR if champion is None else f"version {champion.number}",
        comparison_error=error,
        holdout=holdout.only(unseen),
        stored=stored.filter(pl.Series(unseen)),
        baselines={name: values[unseen] for name, values in baselines.items()},
        validation=_validation(candidate, champion_bundle) if search else None,
        all_rows=rows,
        all_predictions=_own_classes(holdout.candidate, classes),
        expected_predictions=from_columns(stored, model, classes),
        seen_rows=int((~unseen).sum()),
        slices=candidate.roles.slices,
        release=release,
        twins=_twins(candidate, champion),
    )


def _twins(candidate: Candidate, champion: Champion | None) -> tuple[str, ...]:
    """Which of the two are release fits, by the name that summaries give them."""
    own = [CANDIDATE_NAME] if candidate.bundle.is_release else []
    rival = [f"version {champion.number}"] if champion and champion.bundle.is_release else []
    return (*own, *rival)


def _release(candidate: Candidate, rows: pl.DataFrame) -> ReleaseScores | None:
    """The release fit's predictions; None where there is none."""
    if not candidate.bundle.is_release:
        return None
    return ReleaseScores(
        predictions=answers.predict(candidate.bundle, rows).astype(np.float64),
        expected=candidate.release_predictions,
    )


def _validation(candidate: Candidate, champion: "Bundle | None") -> ScoredRows | None:
    """The validation part scored by both; None where they cannot be compared on it."""
    rows = candidate.validation
    predictions, error = _predict(
        candidate.bundle.evaluated,
        champion,
        rows,
        candidate.validation_target,
        candidate.validation_baseline(FIRST_RIVAL),
    )
    if error:
        return None
    # The candidate may have learnt from these rows; what it predicted before that is stored.
    own = candidate.bundle.signature["classes"]
    unseen = _widened(candidate.validation_predictions, own, predictions.classes)
    predictions = replace(predictions, models={**predictions.models, CANDIDATE: unseen})
    blocks = block_codes(rows[candidate.roles.time], candidate.block_length)
    return ScoredRows(rows=rows, blocks=blocks, predictions=predictions)


def _predict(
    candidate: "Bundle",
    champion: "Bundle | None",
    rows: pl.DataFrame,
    target: np.ndarray,
    baseline: np.ndarray,
) -> tuple[Predictions, str]:
    """The predictions of candidate and rival, and why they cannot be compared."""
    alone = Predictions(
        target=target,
        candidate=CANDIDATE,
        models={CANDIDATE: answers.predict(candidate, rows).astype(np.float64)},
        classes=class_names(candidate, None),
    )
    if champion is None:
        models = {**alone.models, RIVAL: baseline}
        return replace(alone, models=models), _not_finite("the candidate", models[CANDIDATE])
    try:
        both = predict_both(candidate, champion, rows)
    except DataError as error:
        return alone, f"the champion cannot score these rows ({error})"
    models = dict(zip((CANDIDATE, RIVAL), both, strict=True))
    problem = _not_finite("the candidate", both[0]) or _not_finite("the champion", both[1])
    return replace(alone, models=models, classes=class_names(candidate, champion)), problem


def _own_classes(predicted: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """(N,) or (N, K) without the classes that only the champion knows, which stand last."""
    return predicted[:, : len(classes)] if classes else predicted


def _not_finite(model: str, predicted: np.ndarray) -> str:
    """How many rows have a prediction that is not finite; '' where none has."""
    count = int((~np.isfinite(as_table(predicted)).all(axis=1)).sum())
    return f"{model} predicts no finite number for {count:,} rows" if count else ""


def require_same_rows(rows: pl.DataFrame, predictions: pl.DataFrame) -> None:
    """Raises PipelineError unless both tables hold the same rows in the same order."""
    shared = [name for name in rows.columns if name in predictions.columns and name != "target"]
    if not rows.select(shared).equals(predictions.select(shared)):
        raise PipelineError(
            "the evaluation is not of these holdout rows",
            where=str(paths.PREDICTIONS),
            got=f"{predictions.height:,} rows",
            expected=f"the {rows.height:,} rows of {paths.HOLDOUT}, in the same order",
            do="run the pipeline: `refit run`, or `dvc repro`",
        )


def predict_both(
    candidate: "Bundle", champion: "Bundle", rows: pl.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """The candidate's and the champion's predictions of the same rows, (N,) or (N, K).

    The K classes are those of `class_names`; a class that a model does not know has probability 0.

    Raises:
        DataError: a model cannot score the rows, or the two have different tasks.
    """
    task, names = candidate.signature["task"], class_names(candidate, champion)
    first, second = (_predict_classes(model, task, rows, names) for model in (candidate, champion))
    return first, second


def class_names(candidate: "Bundle", champion: "Bundle | None") -> tuple[str, ...]:
    """The candidate's classes in its order, then those that only the champion knows."""
    others = [] if champion is None else champion.signature["classes"]
    return tuple(dict.fromkeys([*candidate.signature["classes"], *others]))


def _predict_classes(
    model: "Bundle", task: str, rows: pl.DataFrame, names: tuple[str, ...]
) -> np.ndarray:
    if model.signature["task"] != task:
        raise DataError(f"it is a {model.signature['task']} model", expected=task)
    values = answers.predict(model, rows).astype(np.float64)
    return _widened(values, model.signature["classes"], names)


def _widened(values: np.ndarray, own: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(N,) as it is, or (N, own classes) -> (N, K) with 0 for the classes that are not its own."""
    if not names:
        return values
    widened = np.zeros((len(values), len(names)))
    widened[:, [names.index(name) for name in own]] = values
    return widened
