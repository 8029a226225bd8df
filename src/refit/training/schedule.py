"""The order of the rows and the learning rate of each step, both functions of the seed and step."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of an epoch's shuffle and dropout."""
    return seed * 1_000_003 + epoch + 1


def batches(
    rows: int, size: int, *, seed: int, epoch: int, done: int, members: int = 1
) -> Iterator[Tensor]:
    """Row numbers (members*B,) of each whole batch after the first `done`, member by member.

    Each member meets the rows in an order of its own, shuffled again each epoch. The last,
    incomplete batch is left to the next epoch's shuffle.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    orders = torch.stack([torch.randperm(rows, generator=generator) for _ in range(members)])
    for start in range(done * size, rows - size + 1, size):
        yield orders[:, start : start + size].flatten()


def learning_rate(step: int, steps: int, *, peak: float, warmup_share: float) -> float:
    """Linear warm-up to the peak, then half a cosine down to zero."""
    warmup = max(round(warmup_share * steps), 1)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
