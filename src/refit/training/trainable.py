"""What the training loop needs of a module."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from refit.tasks.task import Task


class Trainable(nn.Module, ABC):
    """A module with the scale of its target.

    **Shape**: numeric (B, F) float32 with NaN for missing, categorical (B, C) int32
    -> outputs (B, K) float32. In training a batch holds B rows for each member, member by member.
    """

    members: int = 1
    """How many parts it has that are trained on rows of their own, each in its own order."""
    target_mean: Tensor
    target_std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("target_mean", torch.tensor(0.0))
        self.register_buffer("target_std", torch.tensor(1.0))

    @abstractmethod
    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """(B, F) float32, (B, C) int32 -> (B, K), in training with members*B for B."""

    @abstractmethod
    def decaying(self) -> list[nn.Parameter]:
        """The parameters that weight decay applies to."""

    def learn_scale(self, task: Task, target: "torch.Tensor") -> None:
        """Store the location and the spread of the training target (N,)."""
        location, spread = task.scale(target.numpy())
        self.target_mean.fill_(location)
        self.target_std.fill_(spread)
