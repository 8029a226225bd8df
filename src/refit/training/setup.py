"""Prepares a process for a deterministic training: seeds, threads, and how matrices multiply."""

from refit.core import determinism
from refit.core.determinism import Level
from refit.training import linear_layer


def prepare(seed: int, level: Level, threads: int) -> None:
    """Seed Python and torch, and multiply as the level says."""
    determinism.seed_everything(seed, level)
    linear_layer.use(level, threads)
