"""Stage `train`: data/prepared -> data/model, tracked live in MLflow."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from refit.core import determinism, files, params, paths
from refit.data import prepared
from refit.models import catalog, release
from refit.models import final as final_model
from refit.models.final import NONE, Fits, TrainParams
from refit.models.model import Data, Model, Session
from refit.tracking.recorder import Recorder
from refit.tracking.run import TrainingRun
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
    logged = {name: str(value) for name, value in (asdict(settings) | asdict(own)).items()}
    training = TrainingRun(
        fingerprint=key, experiment=dataset, params=logged, tags={"stage": "train"}
    )
    with Recorder(training, Path.cwd()) as recorder:
        fits = _fit(model, data, own, settings, level=level, key=key, recorder=recorder)
        fitted = fits.final
        described = {
            "task": data.task.name,
            "dataset": dataset,
            "model": {"name": settings.model, **fitted.describe()},
            "final": settings.final,
            "chosen": fits.chosen.describe(),
            "seed": settings.seed,
            "rows": {"train": len(data.train), "validation": len(data.validation)},
            "determinism": {"level": _level(fits), "asked": level, **determinism.settings(level)},
            "fingerprint": key,
        }
        shutil.rmtree(paths.MODEL, ignore_errors=True)
        fitted.save(paths.MODEL)
        if fits.release is not None:
            described["release"] = fits.release.describe()
            fits.release.save(paths.RELEASE)
        files.write_array(paths.VALIDATION_PREDICTIONS, fits.chosen.predict(data.validation))
        files.write_json(paths.TRAINING, described)
        recorder.artifact(paths.TRAINING)
    shutil.rmtree(paths.CHECKPOINTS / key, ignore_errors=True)


def _fit(
    model: Model,
    data: Data,
    own: Any,
    settings: TrainParams,
    *,
    level: determinism.Level,
    key: str,
    recorder: Recorder,
) -> Fits:
    with stop_signals.noted() as stop:
        session = Session(
            seed=settings.seed,
            level=level,
            threads=determinism.threads(level),
            checkpoints=paths.CHECKPOINTS / key,
            log=recorder.log,
            stop=stop,
            train=loop.train,
        )
        fits = final_model.fit(model, data, own, session, settings.final)
        if settings.release == NONE:
            return fits
        holdout = prepared.map_part(paths.PREPARED, "holdout")
        length = fits.chosen.length
        return replace(fits, release=release.fit(model, data, holdout, own, session, length=length))


def _level(fits: Fits) -> determinism.Level:
    """What holds for every model that is registered."""
    level = fits.final.level
    return level if fits.release is None else determinism.at_most(level, fits.release.level)
