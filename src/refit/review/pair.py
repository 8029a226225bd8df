"""Predictions of a version and of its rival on the same rows, which neither was trained on.

Two sources give such rows. A decision keeps the rows that candidate and champion were scored on.
Two versions of different decisions share the rows that were in the holdout of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from refit.evaluation.predictions import from_columns, stored_classes
from refit.promotion import evidence
from refit.registry.registry import Registry
from refit.review import stored
from refit.review.stored import StoredVersion
from refit.tasks.catalog import find as find_task
from refit.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Predictions of a version and of its rival on the same N rows."""

    task: Task
    classes: tuple[str, ...]
    labels: tuple[str, str]
    """What the version and its rival are called."""
    rows: pl.DataFrame
    """With the columns `target` and `block`."""
    candidate: np.ndarray
    """(N,) or (N, K) the predictions of the version."""
    rival: np.ndarray
    """Of the same shape."""

    @property
    def target(self) -> np.ndarray:
        """(N,) as numbers."""
        return self.rows["target"].to_numpy().astype(np.float64)

    @property
    def blocks(self) -> np.ndarray:
        """(N,) block numbers from 0 without gaps."""
        return np.unique(self.rows["block"].to_numpy(), return_inverse=True)[1]

    @property
    def size(self) -> tuple[int, int]:
        """The number of rows, and the number of blocks."""
        return self.rows.height, self.rows["block"].n_unique()

    def swapped(self) -> "Pair":
        """The same rows with version and rival exchanged."""
        version, rival = self.labels
        return replace(self, labels=(rival, version), candidate=self.rival, rival=self.candidate)

    def only(self, kept: np.ndarray) -> "Pair":
        """The rows where the mask (N,) is true."""
        return replace(
            self,
            rows=self.rows.filter(pl.Series(kept)),
            candidate=self.candidate[kept],
            rival=self.rival[kept],
        )

    def in_slice(self, column: str, value: str) -> np.ndarray:
        """(N,) whether a row is in the slice; False everywhere if the column is missing."""
        if column not in self.rows.columns:
            return np.zeros(self.rows.height, dtype=bool)
        values = self.rows[column].cast(pl.String).fill_null("missing")
        mask: np.ndarray = (values == value).to_numpy()
        return mask

    def row_losses(self, metric: str) -> np.ndarray:
        """(2, N) the loss of each row, of the version and of its rival."""
        sides = (self.candidate, self.rival)
        return np.stack([self.task.row_loss(metric, self.target, side) for side in sides])


def of_decision(version: StoredVersion, rival: str) -> Pair | None:
    """The rows that the decision about the version was made on; None if they are not kept."""
    if version.scored is None or version.signature is None:
        return None
    return from_scored(version.scored, version.signature, (version.label, rival))


def from_scored(
    scored: pl.DataFrame, signature: Mapping[str, Any], labels: tuple[str, str]
) -> Pair:
    """The pair of scored rows, see refit.promotion.evidence."""
    candidate, rival = (
        from_columns(scored, name, stored_classes(scored, name))
        for name in (evidence.CANDIDATE, evidence.RIVAL)
    )
    return Pair(
        task=find_task(signature["task"]),
        classes=tuple(signature["classes"]),
        labels=labels,
        rows=scored,
        candidate=candidate,
        rival=rival,
    )


def of_versions(
    registry: Registry, old: StoredVersion, new: StoredVersion
) -> tuple[Pair | None, str]:
    """The rows that both versions were scored on, `new` first, or why there are none."""
    judged = _judged(new, old)
    if judged is not None:
        return judged, ""
    judged = _judged(old, new)
    if judged is not None:
        return judged.swapped(), ""
    reason = _incomparable(old, new)
    if reason:
        return None, reason
    return _shared(registry, old, new)


def _judged(candidate: StoredVersion, champion: StoredVersion) -> Pair | None:
    """The rows of the decision about the one against the other, if there was such a decision."""
    decision = candidate.decision
    if decision is None or decision["champion_before"] != champion.version.number:
        return None
    return of_decision(candidate, champion.label)


def _incomparable(old: StoredVersion, new: StoredVersion) -> str:
    """Why the predictions of two versions have no common meaning; empty if they have one."""
    if old.signature is None or new.signature is None:
        return "the signature of one of them is not kept"
    if old.model is None or new.model is None:
        return "the lineage of one of them is not kept"
    if old.signature["task"] != new.signature["task"]:
        return f"one is a {old.signature['task']} model, one a {new.signature['task']} model"
    if set(old.signature["classes"]) != set(new.signature["classes"]):
        return "they know different classes"
    return ""


def _shared(registry: Registry, old: StoredVersion, new: StoredVersion) -> tuple[Pair | None, str]:
    """The rows that were in the holdout of both versions."""
    signature: Mapping[str, Any] = new.signature or {}
    classes = tuple(signature["classes"])
    theirs = _predictions(registry, old, evidence.RIVAL, classes)
    ours = _predictions(registry, new, evidence.CANDIDATE, classes)
    if theirs is None or ours is None:
        return None, "the predictions of one of them are not kept"
    context = ours.columns[: ours.columns.index("block")]  # the columns that identify a row
    shared = [n for n in context if n in theirs.columns and ours.schema[n] == theirs.schema[n]]
    added = _columns(evidence.RIVAL, classes)
    rows = ours.join(
        theirs.select(*shared, *added), on=shared, nulls_equal=True, maintain_order="left"
    )
    if not rows.height:
        return None, "no row was in the holdout of both"
    return from_scored(rows, signature, (new.label, old.label)), ""


def _predictions(
    registry: Registry, version: StoredVersion, name: str, classes: tuple[str, ...]
) -> pl.DataFrame | None:
    """The stored predictions, those of the version's own model under another name."""
    frame = stored.predictions(registry, version.version)
    if frame is None or version.model is None:
        return None
    columns = zip(_columns(version.model, classes), _columns(name, classes), strict=True)
    return frame.rename(dict(columns))


def _columns(name: str, classes: tuple[str, ...]) -> list[str]:
    return [f"{name}_{word}" for word in classes] or [name]
