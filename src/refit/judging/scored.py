"""Candidate and champion on the same holdout rows: predictions, losses, blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit import metrics
from refit.core import files
from refit.core.errors import ConfigError, DataError, PipelineError
from refit.dataset import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refit.bundle import Bundle

BUNDLE = Path("data/bundle")
EVALUATION = Path("data/evaluation")
HOLDOUT = Path("data/prepared/holdout.parquet")
PREDICTIONS = EVALUATION / "predictions.parquet"


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
class Scored:
    """Two models on the same N rows of the holdout."""

    task: Task
    rows: pl.DataFrame
    """The stored predictions' frame: key, time, partition, slice columns, `block`, `target`."""
    target: np.ndarray
    """(N,) float64."""
    blocks: np.ndarray
    """(N,) block numbers from 0 without gaps."""
    own: np.ndarray
    """(N,) or (N, K) the candidate's predictions."""
    rival: np.ndarray
    """Of the same shape: the champion's, or those of the linear baseline before there is one."""

    def losses(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """(N,) and (N,): each row's loss of candidate and rival.

        Raises:
            ConfigError: the metric does not fit the task.
            DataError: a loss is not finite.
        """
        try:
            found = [
                metrics.losses(metric, self.task, self.target, prediction)
                for prediction in (self.own, self.rival)
            ]
        except ValueError as error:
            raise ConfigError(
                str(error),
                where="params.yaml, `promote.metric`",
                expected=f"a loss of a {self.task} task, such as {metrics.PRIMARY[self.task]}",
            ) from error
        require_finite(found)
        return found[0], found[1]


def score(root: Path, champion: Champion | None) -> Scored:
    """The holdout as the pipeline left it, scored by both.

    Args:
        root: of the project.
        champion: None before the first; the linear baseline takes its place.

    Raises:
        PipelineError: the evaluation is not of these holdout rows.
        DataError: the champion cannot score them.
    """
    from refit import bundle

    challenger = bundle.load(root / BUNDLE)
    predictions = files.read_parquet(root / PREDICTIONS)
    if champion is None:
        own, rival = (stored(predictions, name, challenger) for name in ("network", "linear"))
    else:
        rows = files.read_parquet(root / HOLDOUT)
        require_same_rows(rows, predictions)
        own, rival = both(challenger, bundle.load(champion.bundle), rows, champion.number)
    return Scored(
        task=challenger.signature["task"],
        rows=predictions,
        target=predictions["target"].to_numpy(),
        blocks=predictions["block"].to_numpy(),
        own=own,
        rival=rival,
    )


def stored(predictions: pl.DataFrame, model: str, challenger: "Bundle") -> np.ndarray:
    """(N,) or (N, K) what the evaluation stored of a model: `network`, `linear` or `boosted`."""
    classes = challenger.signature["classes"]
    columns = [f"{model}_{name}" for name in classes] or [model]
    values = predictions.select(columns).to_numpy().astype(np.float64)
    return values if classes else values[:, 0]


def require_same_rows(rows: pl.DataFrame, predictions: pl.DataFrame) -> None:
    """Raises PipelineError unless both frames hold the same rows in the same order."""
    shared = [name for name in rows.columns if name in predictions.columns and name != "target"]
    if not rows.select(shared).equals(predictions.select(shared)):
        raise PipelineError(
            "the evaluation is not of these holdout rows",
            where=str(PREDICTIONS),
            got=f"{predictions.height:,} rows",
            expected=f"the {rows.height:,} rows of {HOLDOUT}, in their order",
            do="run the pipeline: `refit run`, or `dvc repro`",
        )


def require_finite(losses: Sequence[np.ndarray]) -> None:
    """Raises DataError, with the count, where a loss of candidate or champion is not finite."""
    for who, found in zip(("candidate", "champion"), losses, strict=True):
        wrong = int(np.count_nonzero(~np.isfinite(found)))
        if wrong:
            raise DataError(
                f"the {who}'s loss is not a finite number",
                where=str(HOLDOUT),
                got=f"{wrong:,} of {len(found):,} rows",
                expected="a finite prediction for every row",
                do="look at the model's predictions for these rows before deciding about it",
            )


def both(
    challenger: "Bundle", reigning: "Bundle", rows: pl.DataFrame, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """The challenger's and the champion's predictions of the same rows: (N,) or (N, K).

    The K classes are the challenger's, in its order, then those that only the champion knows; a
    class that a model does not know has probability zero.
    """
    new, old = (model.signature for model in (challenger, reigning))
    classes = list(dict.fromkeys([*new["classes"], *old["classes"]]))
    try:
        own, rival = (_spread(m, new["task"], rows, classes) for m in (challenger, reigning))
    except DataError as error:
        raise DataError(
            "candidate and champion cannot be compared on these rows",
            where=f"champion version {number}",
            got=str(error),
            do="keep the columns that the champion reads, or begin anew against the linear"
            " baseline: `refit rollback --to none --why ...`",
        ) from error
    return own, rival


def _spread(model: "Bundle", task: Task, rows: pl.DataFrame, classes: list[str]) -> np.ndarray:
    if model.signature["task"] != task:
        raise DataError(f"the champion is a {model.signature['task']} model", expected=task)
    values = model.predict(rows).astype(np.float64)
    if not classes:
        return values
    spread = np.zeros((len(values), len(classes)))
    spread[:, [classes.index(name) for name in model.signature["classes"]]] = values
    return spread
