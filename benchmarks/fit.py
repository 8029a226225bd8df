"""Fit one model on data/prepared of the current folder and print its row of the table.

Run by bench.py, each model in a fresh process: the network under the settings of determinism, which
must stand in the environment before NumPy and torch are loaded; LightGBM on all cores.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from refit.core import determinism, paths

PATIENCE = 50


def main() -> None:
    """Fit the named model."""
    {"network": network, "lightgbm": lightgbm}[sys.argv[1]]()


def network() -> None:
    """The network as the stage `train` fits it, without tracking."""
    determinism.apply()
    from refit.core import params
    from refit.data import prepared
    from refit.training import linear_layer
    from refit.training.inference import predict
    from refit.training.loop import TrainParams, configure, fit

    settings = params.read(TrainParams, "train")
    determinism.seed_everything(settings.seed)
    level = determinism.STRICTEST
    linear_layer.use(level, determinism.threads(level))
    roles, encoder = prepared.read_description(paths.PREPARED)
    train, validation, holdout = (prepared.map_part(paths.PREPARED, p) for p in PARTS)
    config = configure(train, roles.task, encoder.cardinalities, 0, settings)
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout, shown = sys.stderr, sys.stdout
        started = time.perf_counter()
        trained = fit(
            train,
            validation,
            task=roles.task,
            config=config,
            settings=settings,
            checkpoints=Path(folder),
            log=lambda *_: None,
        )
        seconds = time.perf_counter() - started
        sys.stdout = shown
    predicted = predict(trained.network, roles.task, holdout).astype(float)
    rows = trained.steps * settings.batch_size
    row(
        f"network, {determinism.threads(level)} threads, {level}",
        seconds,
        rows / seconds,
        holdout.target,
        predicted,
    )


def lightgbm() -> None:
    """LightGBM, learning rate .05, 63 leaves, stopped by the validation part."""
    import lightgbm as lgb
    import numpy as np

    from refit.data import prepared

    roles, encoder = prepared.read_description(paths.PREPARED)
    parts = {}
    for part in PARTS:
        examples = prepared.read_examples(paths.PREPARED, part)
        codes = encoder.encode_categorical(examples)
        numbers = examples.select(roles.numeric).to_numpy().astype(np.float64)
        target = examples[roles.target].to_numpy()
        parts[part] = np.hstack([numbers, codes]), target
    categorical = list(range(len(roles.numeric), len(roles.features)))
    started = time.perf_counter()
    data = lgb.Dataset(*parts["train"], categorical_feature=categorical)
    booster = lgb.train(
        {
            "objective": "binary",
            "learning_rate": 0.05,
            "num_leaves": 63,
            "seed": 2013,
            "num_threads": os.cpu_count(),
            "verbose": -1,
        },
        data,
        num_boost_round=2000,
        valid_sets=[lgb.Dataset(*parts["validation"], reference=data)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    seconds = time.perf_counter() - started
    rows = len(parts["train"][1]) * booster.current_iteration()
    inputs, target = parts["holdout"]
    name = f"LightGBM, {os.cpu_count()} threads, {booster.best_iteration} trees"
    row(name, seconds, rows / seconds, target, np.asarray(booster.predict(inputs)))


def row(name: str, seconds: float, rate: float, target: object, predicted: object) -> None:
    """Print a row: fit seconds, training rows (times passes or trees) a second, AUC, log loss."""
    import numpy as np

    from refit.evaluation import metrics

    found = metrics.score("binary", np.asarray(target, float), np.asarray(predicted, float))
    print(
        f"| {name} | {seconds:.1f} | {rate:,.0f} | {found['roc_auc']:.4f} |"
        f" {found['log_loss']:.4f} |",
        flush=True,
    )


PARTS = ("train", "validation", "holdout")

if __name__ == "__main__":
    main()
