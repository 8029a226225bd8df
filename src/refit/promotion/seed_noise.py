"""How far the holdout's loss moves when a retrain changes nothing but its seed.

That spread is noise in every comparison of two networks, and days do not show it: the policy takes
it as `promote.seed_deviation`. The retrains are for measuring only, so they leave nothing behind,
and use the processor's fastest products instead of those whose bits are the same everywhere.
"""

import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from statistics import stdev

import numpy as np

from refit.core import determinism, params, paths
from refit.core.errors import PipelineError
from refit.data import prepared
from refit.data.prepared import Arrays
from refit.promotion import policy, scoring
from refit.training import linear_layer
from refit.training.inference import predict
from refit.training.loop import TrainParams, configure, fit


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """A training with another seed."""

    seed: int
    loss: float
    """Mean of the policy's metric on the holdout."""


def retrains(root: Path, count: int) -> Iterator[Retrain]:
    """Train on data/prepared with as many seeds, from the one of params.yaml on.

    Raises:
        PipelineError: nothing is prepared.
    """
    folder = root / paths.PREPARED
    if not (folder / prepared.DESCRIPTION).is_file():
        raise PipelineError(
            "there is nothing to train on",
            where=str(folder),
            got="nothing there",
            do="run the pipeline first: `refit run`, or `dvc repro`",
        )
    linear_layer.use("machine", determinism.threads("machine"))
    settings = params.read(TrainParams, "train", root / paths.PARAMS)
    for seed in range(settings.seed, settings.seed + count):
        found = _predicted(folder, replace(settings, seed=seed))
        yield Retrain(seed=seed, loss=float(_losses(root, folder, found).mean()))


def _predicted(folder: Path, settings: TrainParams) -> np.ndarray:
    """(N,) or (N, K) what a fresh training says of the holdout."""
    roles, encoder = prepared.read_description(folder)
    train, validation, holdout = (
        prepared.map_part(folder, part) for part in ("train", "validation", "holdout")
    )
    with tempfile.TemporaryDirectory() as checkpoints, redirect_stdout(StringIO()):
        trained = fit(
            train,
            validation,
            task=roles.task,
            config=configure(
                train, roles.task, encoder.cardinalities, len(encoder.classes), settings
            ),
            settings=settings,
            checkpoints=Path(checkpoints),
            log=lambda *_: None,
        )
    return predict(trained.network, roles.task, holdout).astype(np.float64)


def _losses(root: Path, folder: Path, predicted: np.ndarray) -> np.ndarray:
    roles, _ = prepared.read_description(folder)
    holdout: Arrays = prepared.map_part(folder, "holdout")
    target = np.array(holdout.target)
    return scoring.losses(policy.read(root).metric, roles.task, target, predicted)


def deviation(found: list[Retrain]) -> float:
    """Standard deviation of the losses (of a sample, so with one degree of freedom less)."""
    return stdev(each.loss for each in found)
