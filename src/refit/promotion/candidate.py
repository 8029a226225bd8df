"""The candidate: the bundle that the pipeline left, the rows it is judged on, and the policy.

It is loaded once for a decision and passed on. Loading computes the digests that name a decision.
Tables, metrics and the model are read when they are first used, and only once.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.core import files, params, paths
from refit.core.errors import PipelineError
from refit.data import prepared, recorded
from refit.dataset import Roles
from refit.evaluation import release
from refit.evaluation.baselines import BaselineName
from refit.evaluation.predictions import from_columns
from refit.promotion import policy
from refit.promotion.policy import PromoteParams
from refit.serving.digest import files_of, identity

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle
    from refit.serving.sandbox import Trial

INPUTS = (
    paths.EVALUATION,
    paths.BUNDLE,
    paths.BASELINE / "validation",
    paths.HOLDOUT,
    paths.PREPARED / "validation.parquet",
    paths.PREPARED / "validation/target.npy",
    paths.PREPARED / prepared.DESCRIPTION,
    paths.VALIDATION,
)
"""The files and folders that a decision reads."""
TRIED = 100
"""Rows that the model is tried on."""
LISTED = 5
"""Names that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a decision is about."""

    root: Path
    """Of the project."""
    name: str
    """Of the dataset, which is the name of the registered model."""
    policy: PromoteParams
    digest: str
    """Of the bundle."""
    holdout_digest: str
    """Of the holdout rows."""
    predictions_digest: str
    """Of their blocks and of the predictions that the evaluation stored."""

    @cached_property
    def bundle(self) -> "Bundle":
        """The model; ONNX Runtime loads it at the first prediction."""
        from refit.serving import bundle

        return bundle.load(self.root / paths.BUNDLE)

    @contextmanager
    def trying(self) -> Iterator["Trial"]:
        """Start the trial of the model in a process of its own, see `refit.serving.sandbox`.

        The twin of a release fit is tried at the end of the block.

        The stage `evaluate` has run the model, but perhaps on another machine whose cache was
        fetched.

        Raises:
            PipelineError: the folder of the bundle holds other files.
        """
        from refit.serving import sandbox

        folder = self.root / paths.BUNDLE
        own = files_of(folder)
        others = sorted(path.name for path in folder.iterdir() if path.name not in own)
        if others:
            raise PipelineError(
                "files beside the bundle are not its own",
                where=str(folder),
                got=", ".join(map(ascii, others[:LISTED])),
                expected=", ".join(own),
                do="delete them, or restore the folder with `dvc checkout`",
            )
        rows = self.holdout.head(TRIED)
        if rows.is_empty():  # one row of missing values
            rows = pl.DataFrame({each["name"]: [None] for each in self.bundle.signature["inputs"]})
        with sandbox.trying(self.bundle, rows) as trial:
            yield trial
        if self.bundle.is_release:  # one after the other: each may take all memory that is free
            sandbox.predict(self.bundle.evaluated, rows)

    @cached_property
    def holdout(self) -> pl.DataFrame:
        """The N rows of the holdout, with every column of the examples."""
        return files.read_parquet(self.root / paths.HOLDOUT)

    @cached_property
    def predictions(self) -> pl.DataFrame:
        """The same rows as the evaluation stored them: with blocks, target and predictions."""
        return files.read_parquet(self.root / paths.PREDICTIONS)

    @cached_property
    def release_predictions(self) -> np.ndarray:
        """(N,) or (N, K) float64 predictions of the same rows by the release fit, as stored."""
        stored = files.read_parquet(self.root / paths.RELEASE_PREDICTIONS)
        return from_columns(stored, release.NAME, self.bundle.signature["classes"])

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """metrics.json of the evaluation."""
        metrics: Mapping[str, Any] = files.read_json(self.root / paths.METRICS)
        return metrics

    @cached_property
    def roles(self) -> Roles:
        """The roles of the columns."""
        return prepared.read_description(self.root / paths.PREPARED)[0]

    @cached_property
    def validation(self) -> pl.DataFrame:
        """The M rows of the validation part, with every column of the examples."""
        return prepared.read_examples(self.root / paths.PREPARED, "validation")

    @cached_property
    def validation_target(self) -> np.ndarray:
        """(M,) the target of the validation part."""
        return np.array(prepared.map_part(self.root / paths.PREPARED, "validation").target)

    @cached_property
    def validation_predictions(self) -> np.ndarray:
        """(M,) or (M, K) float64, by the model that had not seen the validation part."""
        return np.array(files.map_array(self.root / paths.VALIDATION_PREDICTIONS), np.float64)

    def validation_baseline(self, baseline: BaselineName) -> np.ndarray:
        """(M,) or (M, K) float64 predictions of a baseline for the validation part."""
        path = self.root / paths.BASELINE / "validation" / f"{baseline}.npy"
        return np.array(files.map_array(path), np.float64)

    @cached_property
    def block_length(self) -> str:
        """The length of a block of time, `evaluate.block` in params.yaml."""
        return str(params.load(self.root / paths.PARAMS)["evaluate"]["block"])


def require_as_recorded(candidate: Candidate) -> None:
    """Compare what a decision reads with what DVC recorded when the stages ran.

    Raises:
        DataError: a file is missing or has other bytes.
    """
    record = recorded.outputs(candidate.root)
    if record is not None:
        record.require_files(path for place in INPUTS for path in record.below(place))


def load(root: Path) -> Candidate:
    """The candidate of the project at `root`.

    Raises:
        PipelineError: the pipeline has left no bundle.
        ConfigError: the policy is not valid.
    """
    for path in (paths.BUNDLE, paths.PREDICTIONS, paths.HOLDOUT):
        if not (root / path).exists():
            raise PipelineError(
                "there is no candidate to decide about",
                where=str(root / path),
                got="nothing there",
                do="run the pipeline first: `refit run`, or `dvc repro`",
            )
    return Candidate(
        root=root,
        name=params.dataset_name(root / paths.PARAMS),
        policy=policy.read(root),
        digest=identity(root / paths.BUNDLE),
        holdout_digest=files.digest(root / paths.HOLDOUT),
        predictions_digest=files.digest(root / paths.PREDICTIONS),
    )
