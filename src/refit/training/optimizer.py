"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter, 2019), by torch's fused kernel.

The arithmetic is torch's own, bit for bit. torch.optim's class loads torch's compiler at its first
step, although it does not use it, and that takes longer than the training of a small table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from refit.training.trainable import Trainable

BETAS = (0.9, 0.98)
EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters with the same weight decay."""

    parameters: Sequence[nn.Parameter]
    weight_decay: float


class _State(NamedTuple):
    """The moments of one parameter."""

    mean: Tensor
    """Of its gradients, decaying."""
    square: Tensor
    """Of their squares, decaying."""
    steps: Tensor
    """() float32."""

    @classmethod
    def of(cls, parameter: Tensor) -> "_State":
        return cls(torch.zeros_like(parameter), torch.zeros_like(parameter), torch.zeros(()))


class AdamW:
    """The optimizer of some groups of parameters."""

    def __init__(self, *groups: Group) -> None:
        self.groups = groups
        self._states = [[_State.of(each) for each in group.parameters] for group in groups]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient, by the learning rate."""
        for group, states in zip(self.groups, self._states, strict=True):
            updates = [
                (parameter, parameter.grad, *state)
                for parameter, state in zip(group.parameters, states, strict=True)
                if parameter.grad is not None
            ]
            if not updates:
                continue
            parameters, gradients, means, squares, steps = map(list, zip(*updates, strict=True))
            adamw(
                parameters,
                gradients,
                means,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rate,
                weight_decay=group.weight_decay,
                eps=EPSILON,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """Everything that a checkpoint needs, by group, parameter and field."""
        return {
            f"{number}.{place}.{name}": tensor
            for number, states in enumerate(self._states)
            for place, state in enumerate(states)
            for name, tensor in state._asdict().items()
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Set the state to what `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def make_optimizer(module: Trainable, weight_decay: float) -> AdamW:
    """AdamW; only the parameters that the module names decay."""
    decaying = module.decaying()
    named = {id(parameter) for parameter in decaying}
    others = [parameter for parameter in module.parameters() if id(parameter) not in named]
    return AdamW(
        Group(parameters=decaying, weight_decay=weight_decay),
        Group(parameters=others, weight_decay=0.0),
    )
