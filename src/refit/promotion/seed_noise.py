"""Measures how far the holdout's loss moves when a retrain changes nothing but its seed.

That spread is noise in every comparison of two models, and resampling days does not show it. The
policy takes it as `promote.seed_deviation`. The retrains only measure: they leave nothing behind,
and they use the processor's fastest arithmetic, not the one whose bits are the same everywhere.
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
from refit.models import catalog, final
from refit.models.final import TrainParams
from refit.models.model import Data, Session
from refit.promotion import policy, scoring


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """One training with its own seed."""

    seed: int
    loss: float
    """Mean of the policy's metric on the holdout."""


def retrains(root: Path, count: int) -> Iterator[Retrain]:
    """Train on data/prepared with `count` seeds, which begin at `train.seed` of params.yaml.

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
    model_settings = params.read(model.params, settings.model, file)
    data, holdout = Data.read(folder), prepared.map_part(folder, "holdout")
    metric = policy.read(root).metric
    for seed in range(settings.seed, settings.seed + count):
        with tempfile.TemporaryDirectory() as checkpoints, redirect_stdout(StringIO()):
            session = _session(seed, Path(checkpoints))
            fits = final.fit(model, data, model_settings, session, settings.final)
        predicted = fits.final.predict(holdout).astype(np.float64)
        losses = scoring.losses(metric, data.task, np.array(holdout.target), predicted)
        yield Retrain(seed=seed, loss=float(losses.mean()))


def _session(seed: int, checkpoints: Path) -> Session:
    from refit.training import loop  # takes as long to import as torch

    return Session(
        seed=seed,
        level="machine",
        threads=determinism.threads("machine"),
        checkpoints=checkpoints,
        log=lambda *_: None,
        stop=lambda: None,
        train=loop.train,
    )


def deviation(retrains: list[Retrain]) -> float:
    """Sample standard deviation of the losses."""
    return stdev(retrain.loss for retrain in retrains)
