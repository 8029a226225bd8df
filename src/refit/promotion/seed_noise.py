"""How far the holdout's loss moves when a retrain changes nothing but its seed.

That spread is noise in every comparison of two models, and days do not show it: the policy takes it
as `promote.seed_deviation`. The retrains are for measuring only. They leave nothing behind, and use
the processor's fastest products instead of those whose bits are the same everywhere.
"""

import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import stdev

import numpy as np

from refit.core import determinism, params, paths
from refit.core.errors import PipelineError
from refit.data import prepared
from refit.models import catalog
from refit.models.catalog import TrainParams
from refit.models.model import Data, Session
from refit.promotion import policy, scoring


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
    file = root / paths.PARAMS
    settings = params.read(TrainParams, "train", file)
    model = catalog.find(settings.model, params.dataset_name(file))
    own = params.read(model.params, settings.model, file)
    data, holdout = Data.read(folder), prepared.map_part(folder, "holdout")
    metric = policy.read(root).metric
    for seed in range(settings.seed, settings.seed + count):
        with tempfile.TemporaryDirectory() as checkpoints, redirect_stdout(StringIO()):
            fitted = model.fit(data, own, _session(seed, Path(checkpoints)))
        predicted = fitted.predict(holdout).astype(np.float64)
        losses = scoring.losses(metric, data.task, np.array(holdout.target), predicted)
        yield Retrain(seed=seed, loss=float(losses.mean()))


def _session(seed: int, checkpoints: Path) -> Session:
    return Session(
        seed=seed,
        level="machine",
        threads=determinism.threads("machine"),
        checkpoints=checkpoints,
        log=lambda *_: None,
        stop=lambda: None,
    )


def deviation(found: list[Retrain]) -> float:
    """Standard deviation of the losses (of a sample, so with one degree of freedom less)."""
    return stdev(each.loss for each in found)
