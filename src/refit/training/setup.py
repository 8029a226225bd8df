"""Prepares a process for a deterministic training: seeds, threads, and how matrices multiply."""

from refit.core import determinism
from refit.core.determinism import Level
from refit.training import linear_layer


def prepare(seed: int, level: Level, threads: int) -> None:
    """Seed Python and torch, and multiply as the level says."""
    determinism.seed_everything(seed, level)
    linear_layer.use(level, threads)


def leave_memory_unfilled() -> None:
    """Do not fill new memory with NaN, which takes a tenth of a step of the built-in network.

    torch fills it in its deterministic mode, so that a module which reads what it never wrote
    gives the same wrong result each time. A user's module keeps that.
    """
    from torch.utils import deterministic

    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
