"""Small models, and rows that they can learn from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from refit.core.determinism import STRICTEST
from refit.data.prepared import Arrays
from refit.models.boosted import BoostedParams
from refit.models.model import Data, Session
from refit.models.network import NetworkParams
from refit.tasks.catalog import find
from refit.training import loop

NETWORK = NetworkParams(
    epochs=4,
    patience=1,
    batch_size=50,
    learning_rate=0.02,
    warmup_share=0.1,
    weight_decay=0.1,
    clip_norm=1.0,
    members=2,
    hidden_width=8,
    hidden_layers=2,
    embedding_width=2,
    bins=4,
    dropout=0.2,
)
BOOSTED = BoostedParams(rounds=30, patience=3, learning_rate=0.3, leaves=7, leaf_rows=5, ridge=0.0)


def part(rows: int, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(rows, 3)).astype(np.float32)
    codes = rng.integers(0, 4, (rows, 1)).astype(np.int32)
    target = (numeric[:, 0] + codes[:, 0] + rng.logistic(size=rows) > 1.5).astype(np.float32)
    return Arrays(numeric=numeric, categorical=codes, target=target)


DATA = Data(
    task=find("binary"), train=part(500, 1), validation=part(200, 2), cardinalities=(4,), classes=0
)


def session(folder: Path, stop: Callable[[], int | None] = lambda: None) -> Session:
    return Session(
        seed=5,
        level=STRICTEST,
        threads=1,
        checkpoints=folder,
        log=lambda *_: None,
        stop=stop,
        train=loop.train,
    )
