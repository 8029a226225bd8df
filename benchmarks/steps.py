"""The training loop's own steps, one at a time, for the benchmarks that time them."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refit.data.prepared import Arrays
    from refit.models.network import Network
    from refit.tasks.task import Task


def training_steps(network: "Network", rows: "Arrays", task: "Task", seed: int) -> Iterator[None]:
    """Endless steps on shuffled batches, at the peak of the learning rate."""
    from refit.training import schedule
    from refit.training.loop import _Loop

    settings, members = network.settings, network.members
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder)
        loop = _Loop(
            network, rows, task=task, settings=settings, seed=seed, checkpoints=checkpoints
        )
        network.train()
        for epoch in itertools.count():
            for batch in schedule.batches(
                len(rows), settings.batch_size, seed=seed, epoch=epoch, done=0, members=members
            ):
                loop._step(batch, settings.learning_rate)
                yield
