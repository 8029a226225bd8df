"""A module over whole parts, batch by batch, without gradients."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from refit.data.prepared import Arrays
from refit.tasks.task import Task
from refit.training.trainable import Trainable

BATCH = 8192


def tensors(arrays: Arrays) -> tuple[Tensor, Tensor, Tensor]:
    """Torch's view of the mapped arrays: (N, F) float32, (N, C) int32, (N,) target; no copy."""
    return (
        torch.from_numpy(arrays.numeric),
        torch.from_numpy(arrays.categorical),
        torch.from_numpy(arrays.target),
    )


@torch.no_grad()
def outputs(module: Trainable, arrays: Arrays) -> Iterator[tuple[Tensor, Tensor]]:
    """The module's outputs (B, K) and the targets (B,), in the order of the rows."""
    module.eval()
    numeric, categorical, target = tensors(arrays)
    for start in range(0, len(arrays), BATCH):
        rows = slice(start, start + BATCH)
        yield module(numeric[rows], categorical[rows]), target[rows]


def mean_loss(module: Trainable, task: Task, arrays: Arrays) -> float:
    """Mean loss over all rows, each batch weighted by its rows."""
    parts = [
        (
            float(task.loss(each, target, module.target_mean, module.target_std)),
            len(target),
        )
        for each, target in outputs(module, arrays)
    ]
    return math.fsum(loss * rows for loss, rows in parts) / len(arrays)


def predict(module: Trainable, task: Task, arrays: Arrays) -> np.ndarray:
    """(N,) or (N, K) float32 predictions."""
    return torch.cat(
        [
            task.predict(each, module.target_mean, module.target_std)
            for each, _ in outputs(module, arrays)
        ]
    ).numpy()
