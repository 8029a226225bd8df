"""Stage `train`: data/prepared -> data/model, tracked live in MLflow."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from refit.core import determinism, files, params, paths
from refit.models import catalog
from refit.models.catalog import TrainParams
from refit.models.model import Data, Fitted, Model, Session
from refit.tracking.run import Tracker
from refit.training import checkpoint, fingerprint, loop, stop_signals


def main() -> None:
    """Fit the chosen model, from the newest checkpoint of this very computation if there is one.

    Raises:
        Stopped: by SIGTERM or Ctrl-C; a checkpoint of the last step is written.
    """
    settings = params.read(TrainParams, "train")
    level = params.choice("determinism", determinism.LEVELS)
    dataset = params.dataset_name()
    model = catalog.find(settings.model, dataset)
    if settings.model not in catalog.BUILT_IN:
        fingerprint.require_dependency("train", Path("src", dataset, f"{settings.model}.py"))
    own = params.read(model.params, settings.model)
    key = fingerprint.stage("train")
    checkpoint.sweep(paths.CHECKPOINTS / key)
    data = Data.read(paths.PREPARED)
    logged = {**asdict(settings), **asdict(own)}
    with Tracker(key, dataset, logged, {"stage": "train"}) as tracker:
        fitted = _fit(model, data, own, seed=settings.seed, level=level, key=key, tracker=tracker)
        described = {
            "task": data.task.name,
            "dataset": dataset,
            "model": {"name": settings.model, **fitted.describe()},
            "seed": settings.seed,
            "rows": {"train": len(data.train), "validation": len(data.validation)},
            "determinism": {"level": fitted.level, "asked": level, **determinism.settings(level)},
            "fingerprint": key,
        }
        shutil.rmtree(paths.MODEL, ignore_errors=True)
        fitted.save(paths.MODEL)
        files.write_json(paths.TRAINING, described)
        tracker.artifact(paths.TRAINING)
    shutil.rmtree(paths.CHECKPOINTS / key, ignore_errors=True)


def _fit(
    model: Model,
    data: Data,
    settings: Any,
    *,
    seed: int,
    level: determinism.Level,
    key: str,
    tracker: Tracker,
) -> Fitted:
    with stop_signals.noted() as stop:
        session = Session(
            seed=seed,
            level=level,
            threads=determinism.threads(level),
            checkpoints=paths.CHECKPOINTS / key,
            log=tracker.log,
            stop=stop,
            train=loop.train,
        )
        return model.fit(data, settings, session)
