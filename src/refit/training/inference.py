"""The trained network over whole parts, batch by batch, without gradients."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from refit.data.prepared import Arrays
from refit.dataset import Task
from refit.models.network import Network

BATCH = 8192


def tensors(arrays: Arrays) -> tuple[Tensor, Tensor, Tensor]:
    """Torch's view of the mapped arrays: (N, F) float32, (N, C) int32, (N,) target; no copy."""
    return (
        torch.from_numpy(arrays.numeric),
        torch.from_numpy(arrays.categorical),
        torch.from_numpy(arrays.target),
    )


@torch.no_grad()
def outputs(network: Network, arrays: Arrays) -> Iterator[tuple[Tensor, Tensor]]:
    """The network's outputs and the targets, batch by batch in the order of the rows."""
    network.eval()
    numeric, categorical, target = tensors(arrays)
    for start in range(0, len(arrays), BATCH):
        rows = slice(start, start + BATCH)
        yield network(numeric[rows], categorical[rows]), target[rows]


def evaluate(network: Network, task: Task, arrays: Arrays) -> float:
    """Mean loss over all rows, each batch weighted by its rows."""
    parts = [
        (float(network.loss(task, logits, target)), len(target))
        for logits, target in outputs(network, arrays)
    ]
    return math.fsum(loss * rows for loss, rows in parts) / len(arrays)


def predict(network: Network, task: Task, arrays: Arrays) -> np.ndarray:
    """Probabilities (N,) or (N, K), or values (N,) for regression, float32."""
    return torch.cat(
        [network.predict(task, logits) for logits, _ in outputs(network, arrays)]
    ).numpy()
