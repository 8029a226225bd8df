"""Stage `train`: data/prepared -> data/model, tracked live in MLflow."""

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from refit import checkpoint, fingerprint, prepared, product, signals, weights
from refit.core import determinism, files, params
from refit.tracking import Tracker
from refit.train import Stopped, TrainParams, configure, fit

CHECKPOINTS = Path(".refit/checkpoints")


def main() -> None:
    """Train; told to stop by SIGTERM or Ctrl-C, leave a checkpoint and say where it stands."""
    try:
        _train()
    except Stopped as stopped:
        print(f"refit: {stopped}", file=sys.stderr)
        sys.exit(stopped.status)


def _train() -> None:
    """Train on the mapped arrays, from the newest checkpoint of this very computation if any."""
    settings = params.read(TrainParams, "train")
    key = fingerprint.stage("train")
    level = params.choice("determinism", determinism.LEVELS)
    checkpoint.sweep(CHECKPOINTS / key)
    determinism.seed_everything(settings.seed, level)
    product.use(level, determinism.threads(level))
    roles, encoder = prepared.read_description(prepared.PREPARED)
    train, validation = (
        prepared.map_part(prepared.PREPARED, part) for part in ("train", "validation")
    )
    config = configure(train, roles.task, encoder.cardinalities, len(encoder.classes), settings)
    with Tracker(key, params.dataset_name(), asdict(settings), {"stage": "train"}) as tracker:
        with signals.noted() as stop:
            trained = fit(
                train,
                validation,
                task=roles.task,
                config=config,
                settings=settings,
                checkpoints=CHECKPOINTS / key,
                log=tracker.log,
                stop=stop,
            )
        described = {
            "task": roles.task,
            "best_epoch": trained.best_epoch,
            "steps": trained.steps,
            "rows": {"train": len(train), "validation": len(validation)},
            "history": files.rounded(trained.history),
            "settings": asdict(settings),
            "determinism": {"level": level, **determinism.settings(level)},
            "fingerprint": key,
        }
        shutil.rmtree(weights.MODEL, ignore_errors=True)
        weights.write(weights.MODEL, trained.network, described)
        tracker.artifact(weights.MODEL / "training.json")
    shutil.rmtree(CHECKPOINTS / key, ignore_errors=True)
