"""Stage `train`: data/prepared -> data/model, tracked live in MLflow."""

import shutil
import sys
from dataclasses import asdict

from refit.core import determinism, files, params, paths
from refit.data import prepared
from refit.models import weights
from refit.tracking.run import Tracker
from refit.training import checkpoint, fingerprint, linear_layer, stop_signals
from refit.training.loop import Stopped, TrainParams, configure, fit


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
    checkpoint.sweep(paths.CHECKPOINTS / key)
    determinism.seed_everything(settings.seed, level)
    linear_layer.use(level, determinism.threads(level))
    roles, encoder = prepared.read_description(paths.PREPARED)
    train, validation = (
        prepared.map_part(paths.PREPARED, part) for part in ("train", "validation")
    )
    config = configure(train, roles.task, encoder.cardinalities, len(encoder.classes), settings)
    with Tracker(key, params.dataset_name(), asdict(settings), {"stage": "train"}) as tracker:
        with stop_signals.noted() as stop:
            trained = fit(
                train,
                validation,
                task=roles.task,
                config=config,
                settings=settings,
                checkpoints=paths.CHECKPOINTS / key,
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
        shutil.rmtree(paths.MODEL, ignore_errors=True)
        weights.write(paths.MODEL, trained.network, described)
        tracker.artifact(paths.TRAINING)
    shutil.rmtree(paths.CHECKPOINTS / key, ignore_errors=True)
