"""How far a training has come, and how it is reported."""

import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Log = Callable[[dict[str, float], int], None]
"""Takes metrics and the number of steps done."""


@dataclass
class Progress:
    """What a run has reached; saved with every checkpoint."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of the epoch's steps so far."""


def epoch_metrics(progress: Progress, rows: int, seconds: float) -> dict[str, float]:
    """The metrics that are logged after an epoch of so many rows."""
    last: dict[str, Any] = progress.history[-1]
    return {
        **{name: value for name, value in last.items() if name != "learning_rate"},
        "rows_per_second": rows / seconds,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def epoch_line(progress: Progress, epochs: int, seconds: float) -> str:
    """The line that is printed after an epoch."""
    last = progress.history[-1]
    line = f"epoch {progress.epoch}/{epochs}: train loss {last['train_loss']:.5f}"
    if "validation_loss" in last:
        best = " (best so far)" if progress.best_epoch == progress.epoch else ""
        line += f", validation loss {last['validation_loss']:.5f}{best}"
    return f"{line}, {seconds:.1f} s"
