"""Candidate and champion on the same holdout rows: predictions, losses, blocks."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.core import files, params, paths
from refit.core.errors import ConfigError, DataError, PipelineError
from refit.data import prepared
from refit.dataset import PARTITION, Roles
from refit.evaluation.predictions import baseline_name, from_columns
from refit.evaluation.time_blocks import block_codes
from refit.promotion import seen
from refit.tasks.catalog import find as find_task
from refit.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refit.serving.bundle import Bundle

BASELINES = ("linear", "boosted")
LINEAR = "the linear baseline"


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that a candidate must beat."""

    number: int
    bundle: Path
    """Its downloaded folder, the digest verified."""
    lineage: "Mapping[str, Any]"
    """Its lineage.json; empty where it was registered without."""
    since: datetime | None
    """Since when it has been champion, in UTC; None where nobody wrote it down."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Two models on the same N rows of one part of the split."""

    rows: pl.DataFrame
    """Every column of the examples."""
    target: np.ndarray
    """(N,) float64 or int64."""
    blocks: np.ndarray
    """(N,) block numbers from 0 without gaps, in the order of time."""
    own: np.ndarray
    """(N,) or (N, K) the candidate's predictions."""
    rival: np.ndarray | None
    """Of the same shape: the champion's, or those of the linear baseline before there is one; None
    where the champion cannot score these rows."""

    def only(self, kept: np.ndarray) -> "Part":
        """The rows where the mask (N,) is true."""
        return Part(
            rows=self.rows.filter(pl.Series(kept)),
            target=self.target[kept],
            blocks=np.unique(self.blocks[kept], return_inverse=True)[1],
            own=self.own[kept],
            rival=None if self.rival is None else self.rival[kept],
        )


@dataclass(frozen=True, kw_only=True)
class Scored:
    """All that the gates look at."""

    task: Task
    holdout: Part
    """Its rows that neither model has trained on."""
    frame: pl.DataFrame
    """The stored predictions of these rows: key, time, partition, slices, `block`, `target`."""
    validation: Part | None
    """None where no slices are to be found."""
    baselines: "Mapping[str, np.ndarray]"
    """Predictions of the same holdout rows, by name."""
    rival: str
    """`version 3`, or the linear baseline before there is a champion."""
    champion: "Bundle | None"
    candidate: "Bundle"
    whole: pl.DataFrame
    """All holdout rows, also those that the champion has seen."""
    predicted: np.ndarray
    """(N',) or (N', K) the candidate's predictions of all of them."""
    expected: np.ndarray
    """Of the same shape: what the model predicted where it was trained."""
    seen: int | None
    """Holdout rows that the champion has trained on, left out; None where nobody knows."""
    classes: tuple[str, ...]
    """The K classes of the predictions in `holdout`."""
    slices: tuple[str, ...]
    """Columns whose values split the holdout."""
    fault: str
    """Why candidate and champion cannot be compared; empty where they can."""


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


def score(root: Path, champion: Champion | None, *, search: bool = False) -> Scored:
    """The holdout as the pipeline left it, scored by both.

    Args:
        root: of the project.
        champion: None before the first; the linear baseline takes its place.
        search: whether the validation part is needed too.

    Raises:
        PipelineError: the evaluation is not of these holdout rows.
    """
    from refit.serving import bundle

    candidate = bundle.load(root / paths.BUNDLE)
    reigning = None if champion is None else bundle.load(champion.bundle)
    roles, _ = prepared.read_description(root / paths.PREPARED)
    predictions = files.read_parquet(root / paths.PREDICTIONS)
    rows = files.read_parquet(root / paths.HOLDOUT)
    require_same_rows(rows, predictions)
    name = candidate.model
    known_classes = candidate.signature["classes"]
    by_name = {
        baseline: from_columns(predictions, baseline_name(baseline, name), known_classes)
        for baseline in BASELINES
    }
    linear = by_name["linear"]
    own, rival, fault = _answers(candidate, reigning, rows, linear)
    known = seen.trained_on(champion.lineage) if champion else frozenset[str]()
    holdout = Part(
        rows=rows,
        target=predictions["target"].to_numpy(),
        blocks=predictions["block"].to_numpy(),
        own=own,
        rival=rival,
    )
    fresh = ~rows[PARTITION].is_in(sorted(known or ())).to_numpy()
    return Scored(
        task=find_task(candidate.signature["task"]),
        holdout=holdout.only(fresh),
        frame=predictions.filter(pl.Series(fresh)),
        validation=_validation(root, roles, candidate, reigning) if search and not fault else None,
        baselines={baseline: values[fresh] for baseline, values in by_name.items()},
        rival=LINEAR if champion is None else f"version {champion.number}",
        champion=reigning,
        candidate=candidate,
        whole=rows,
        predicted=own,
        expected=from_columns(predictions, name, known_classes),
        seen=None if known is None else int((~fresh).sum()),
        classes=classes(candidate, reigning if rival is not None else None),
        slices=roles.slices,
        fault=fault,
    )


def _answers(
    candidate: "Bundle", reigning: "Bundle | None", rows: pl.DataFrame, linear: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """What both say of the rows, and why the rival cannot say anything."""
    own = candidate.predict(rows).astype(np.float64)
    if reigning is None:
        return own, linear, _strange("the candidate", own)
    try:
        widened, rival = both(candidate, reigning, rows)
    except DataError as error:
        return own, None, f"the champion cannot score these rows ({error})"
    fault = _strange("the candidate", own) or _strange("the champion", rival)
    return widened, rival, fault


def _strange(who: str, predicted: np.ndarray) -> str:
    """How many predictions are no finite numbers, or nothing."""
    wrong = int((~np.isfinite(rows_of(predicted)).all(axis=1)).sum())
    return f"{who} predicts no finite number for {wrong:,} rows" if wrong else ""


def rows_of(predicted: np.ndarray) -> np.ndarray:
    """(N, 1) or (N, K): predictions as a table, also when there is none."""
    return predicted[:, None] if predicted.ndim == 1 else predicted


def _validation(
    root: Path, roles: Roles, candidate: "Bundle", reigning: "Bundle | None"
) -> Part | None:
    """The validation part scored by both; None where the champion cannot score it."""
    rows = prepared.read_examples(root / paths.PREPARED, "validation")
    linear = np.array(files.map_array(root / paths.BASELINE / "validation/linear.npy"), np.float64)
    own, rival, fault = _answers(candidate, reigning, rows, linear)
    if fault:
        return None
    block = params.load(root / paths.PARAMS)["evaluate"]["block"]
    return Part(
        rows=rows,
        target=np.array(prepared.map_part(root / paths.PREPARED, "validation").target),
        blocks=block_codes(rows[roles.time], block),
        own=own,
        rival=rival,
    )


def require_same_rows(rows: pl.DataFrame, predictions: pl.DataFrame) -> None:
    """Raises PipelineError unless both frames hold the same rows in the same order."""
    shared = [name for name in rows.columns if name in predictions.columns and name != "target"]
    if not rows.select(shared).equals(predictions.select(shared)):
        raise PipelineError(
            "the evaluation is not of these holdout rows",
            where=str(paths.PREDICTIONS),
            got=f"{predictions.height:,} rows",
            expected=f"the {rows.height:,} rows of {paths.HOLDOUT}, in their order",
            do="run the pipeline: `refit run`, or `dvc repro`",
        )


def both(
    challenger: "Bundle", reigning: "Bundle", rows: pl.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """The challenger's and the champion's predictions of the same rows: (N,) or (N, K).

    The K classes are those of `classes`; a class that a model does not know has probability zero.

    Raises:
        DataError: a model cannot score the rows, or is of another task.
    """
    task, names = challenger.signature["task"], classes(challenger, reigning)
    own, rival = (_spread(m, task, rows, names) for m in (challenger, reigning))
    return own, rival


def classes(challenger: "Bundle", reigning: "Bundle | None") -> tuple[str, ...]:
    """The challenger's classes, in its order, then those that only the champion knows."""
    known = [] if reigning is None else reigning.signature["classes"]
    return tuple(dict.fromkeys([*challenger.signature["classes"], *known]))


def _spread(model: "Bundle", task: str, rows: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    if model.signature["task"] != task:
        raise DataError(f"it is a {model.signature['task']} model", expected=task)
    values = model.predict(rows).astype(np.float64)
    if not names:
        return values
    spread = np.zeros((len(values), len(names)))
    spread[:, [names.index(name) for name in model.signature["classes"]]] = values
    return spread
