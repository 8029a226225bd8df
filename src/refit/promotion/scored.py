"""Candidate and rival scored on the same rows: everything that the gates measure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from refit.evaluation.baselines import BaselineName
from refit.evaluation.predictions import Predictions
from refit.promotion.evidence import RELEASE, RIVAL
from refit.tasks.task import Task

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

FIRST_RIVAL: BaselineName = "linear"
"""The rival as long as there is no champion."""
LINEAR = f"the {FIRST_RIVAL} baseline"


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """N rows of one part of the split, scored by candidate and rival."""

    rows: pl.DataFrame
    """Every column of the examples."""
    blocks: np.ndarray
    """(N,) block numbers from 0 without gaps, in the order of time."""
    predictions: Predictions
    """Of the candidate and, where the rival can score these rows, of the rival."""

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def target(self) -> np.ndarray:
        """(N,) float64 or int64."""
        return self.predictions.target

    @property
    def candidate(self) -> np.ndarray:
        """(N,) or (N, K) the candidate's predictions."""
        return self.predictions.models[self.predictions.candidate]

    @property
    def rival(self) -> np.ndarray | None:
        """(N,) or (N, K) the rival's predictions; None where it cannot score these rows."""
        return self.predictions.models.get(RIVAL)

    @property
    def release(self) -> np.ndarray | None:
        """(N,) or (N, K) predictions of the release fit; None where there is none."""
        return self.predictions.models.get(RELEASE)

    def only(self, mask: np.ndarray) -> "ScoredRows":
        """The rows where the mask (N,) is true."""
        return ScoredRows(
            rows=self.rows.filter(pl.Series(mask)),
            blocks=np.unique(self.blocks[mask], return_inverse=True)[1],
            predictions=self.predictions.only(mask),
        )


@dataclass(frozen=True, kw_only=True)
class ReleaseScores:
    """What the candidate's release fit predicts for all N' holdout rows, which it has learnt."""

    predictions: np.ndarray
    """(N',) or (N', K) by the bundle."""
    expected: np.ndarray
    """Of the same shape: the model's own predictions, as the evaluation stored them."""


@dataclass(frozen=True, kw_only=True)
class ScoredCandidate:
    """The candidate, scored together with what it is compared with.

    Predictions are those of the models that were evaluated: of twins, where release fits go live.
    """

    task: Task
    candidate: "Bundle"
    """What goes live."""
    champion: "Bundle | None"
    """What is live."""
    rival: str
    """`version 3`, or the linear baseline before there is a champion."""
    comparison_error: str
    """Why candidate and rival cannot be compared; empty where they can."""
    holdout: ScoredRows
    """The holdout rows that neither model has trained on."""
    stored: pl.DataFrame
    """These rows as the evaluation stored them: key, time, partition, slices, block, target."""
    baselines: Mapping[BaselineName, np.ndarray]
    """The predictions of each baseline for these rows."""
    validation: ScoredRows | None
    """None where no slices are searched for."""
    all_rows: pl.DataFrame
    """All holdout rows, with those that the champion has trained on."""
    all_predictions: np.ndarray
    """(N',) or (N', K) the candidate's predictions of all holdout rows."""
    expected_predictions: np.ndarray
    """Of the same shape: the model's own predictions, as the evaluation stored them."""
    seen_rows: int
    """Holdout rows that the champion has trained on; they are not in `holdout`."""
    slices: tuple[str, ...]
    """Columns whose values split the holdout."""
    release: ReleaseScores | None = None
    """None where the candidate that goes live is the one that is evaluated."""
    twins: tuple[str, ...] = ()
    """Which of the two are compared by their twins, because a release fit goes or is live."""

    def table(self) -> pl.DataFrame | None:
        """The compared rows with both predictions; None where nothing was compared."""
        if self.holdout.rival is None or not len(self.holdout):
            return None
        return self.stored.with_columns(*self.holdout.predictions.columns())
