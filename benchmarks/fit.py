"""Fit one model on data/prepared of the current folder and print its row of the table.

bench.py runs each model in a new process, because the settings of determinism must be in the
environment before NumPy and torch are loaded. LightGBM runs without them, on all cores and on the
raw numbers, which the model `boosted` does not.
"""

import os
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from refit.core import determinism, paths

if TYPE_CHECKING:
    import numpy as np

PATIENCE = 50


def main() -> None:
    """Fit the named model."""
    {"network": network, "lightgbm": lightgbm}[sys.argv[1]]()


def network() -> None:
    """Fit the network as the stage `train` does, without tracking."""
    determinism.apply()
    from refit.core import params
    from refit.data import prepared
    from refit.models.final import TrainParams
    from refit.models.model import Data, Session
    from refit.models.network import NetworkModel, NetworkParams
    from refit.training import loop

    level = determinism.STRICTEST
    threads = determinism.threads(level)
    settings = params.read(NetworkParams, "network")
    data = Data.read(paths.PREPARED)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        session = Session(
            seed=params.read(TrainParams, "train").seed,
            level=level,
            threads=threads,
            checkpoints=Path(folder),
            log=lambda *_: None,
            stop=lambda: None,
            train=loop.train,
        )
        started = time.perf_counter()
        fitted = NetworkModel().fit(data, settings, session)
        seconds = time.perf_counter() - started
    holdout = prepared.map_part(paths.PREPARED, "holdout")
    rows = fitted.trained.steps * settings.batch_size
    name = f"network, {threads} threads, {level}"
    print_row(name, seconds, rows / seconds, holdout.target, fitted.predict(holdout))


def lightgbm() -> None:
    """Fit LightGBM: learning rate 0.05, 63 leaves, early stopping on the validation part."""
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
    print_row(name, seconds, rows / seconds, target, np.asarray(booster.predict(inputs)))


def print_row(
    name: str, seconds: float, rate: float, target: "np.ndarray", predictions: "np.ndarray"
) -> None:
    """Print a row: fit seconds, training rows (times passes or trees) a second, AUC, log loss."""
    from refit.evaluation.bootstrap import score
    from refit.tasks.catalog import find as find_task

    scores = score(find_task("binary"), target.astype(float), predictions.astype(float))
    print(
        f"| {name} | {seconds:.1f} | {rate:,.0f} | {scores['roc_auc']:.4f} |"
        f" {scores['log_loss']:.4f} |",
        flush=True,
    )


PARTS = ("train", "validation", "holdout")

if __name__ == "__main__":
    main()
