"""Predictions and a training step on one thread, in processor time: two tables.

bench.py runs it in a project whose stages have run. The settings of determinism must be in the
environment before NumPy and torch are loaded. Each figure is the best of several rounds, because
other work on the machine can only make it larger.
"""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from refit.core import determinism, paths

if TYPE_CHECKING:
    from refit.models.network import Network

ROUNDS = 9
SEED = 1
BATCH = 16_384
SQUARE = 1_024
"""Rows and columns of the product that shows the processor's peak."""


def main() -> None:
    """Measure and print."""
    os.environ[determinism.THREADS] = "1"
    determinism.apply()
    print("| One thread | |\n| --- | ---: |", flush=True)
    predictions()
    training_step()


def best(call: Callable[[], object], repeats: int) -> float:
    """Processor seconds of one call."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(repeats):
            call()
        seconds.append((time.process_time() - started) / repeats)
    return min(seconds)


def predictions() -> None:
    """One row of raw columns as a mapping and as a frame, the graph alone, and a batch."""
    from refit.data import prepared
    from refit.serving import bundle

    model = bundle.load(paths.BUNDLE)
    rows = prepared.read_examples(paths.PREPARED, "holdout").head(BATCH)
    frame = rows.head(1)
    mapping = frame.row(0, named=True)
    feeds = model._few_feeds(frame)
    assert feeds is not None
    inputs = len(model.signature["inputs"])
    for name, call in (
        ("one row, a mapping", lambda: model.predict(mapping)),
        ("one row, a frame", lambda: model.predict(frame)),
        (f"one row, the graph with {inputs} inputs", lambda: model.session.run(None, feeds)),
    ):
        print(f"| {name} | {best(call, 200) * 1000:.3f} ms |")
    seconds = best(lambda: model.predict(rows), 1)
    print(f"| batch of {BATCH:,} | {BATCH / seconds:,.0f} rows a second |", flush=True)


def training_step() -> None:
    """A step of the network, and its share of the peak that NumPy's product reaches here."""
    import numpy as np
    from steps import training_steps

    from refit.core import params
    from refit.models.model import Data
    from refit.models.network import Network, NetworkParams
    from refit.training import setup

    data, settings = Data.read(paths.PREPARED), params.read(NetworkParams, "network")
    setup.prepare(SEED, determinism.STRICTEST, 1)
    setup.leave_memory_unfilled()
    network = Network(data.shape, settings)
    steps = training_steps(network, data.train, data.task, SEED)
    seconds = best(lambda: next(steps), 30)
    left, right = (np.ones((SQUARE, SQUARE), np.float32) for _ in range(2))
    peak = 2 * SQUARE**3 / best(lambda: np.matmul(left, right), 3)
    rate = operations(network) / seconds
    print(
        f"| training step, {operations(network) / 1e9:.2f} GFLOP | {seconds * 1000:.1f} ms,"
        f" {rate / 1e9:.0f} GFLOP/s: {rate / peak:.0%} of {peak / 1e9:.0f} |\n"
    )


def operations(network: "Network") -> float:
    """Of the products in a step: forward, and the gradients that are needed."""
    shape, settings = network.shape, network.settings
    wide = settings.members * settings.hidden_width
    numbers = 2 * shape.numeric * (settings.bins + 2) * wide  # the input needs no gradient
    words = 3 * len(shape.cardinalities) * settings.embedding_width * wide
    hidden = 3 * (settings.hidden_layers - 1) * wide * settings.hidden_width
    head = 3 * wide * shape.outputs
    return 2.0 * settings.batch_size * (numbers + words + hidden + head)


if __name__ == "__main__":
    main()
