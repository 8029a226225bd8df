"""The optimizer against torch.optim's own, bit for bit."""

import pytest
import torch
from torch import Tensor, nn

from refit.training.optimizer import BETAS, AdamW, Group

DECAY = 0.1
RATES = (0.01, 0.02, 0.005, 0.001)


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(3)
    return [nn.Parameter(torch.randn(shape)) for shape in ((5, 3), (7,), (4, 2))]


def gradients(step: int, unused: tuple[int, ...]) -> list[Tensor | None]:
    torch.manual_seed(step)
    found = [torch.randn_like(p) for p in parameters()]
    return [None if place in unused else tensor for place, tensor in enumerate(found)]


def of_torch(own: list[nn.Parameter]) -> torch.optim.AdamW:
    groups = [{"params": own[:1], "weight_decay": DECAY}, {"params": own[1:], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=BETAS, fused=True)


def ours(own: list[nn.Parameter]) -> AdamW:
    return AdamW(
        Group(parameters=own[:1], weight_decay=DECAY), Group(parameters=own[1:], weight_decay=0.0)
    )


def advance(
    own: list[nn.Parameter], optimizer: AdamW, steps: range, unused: tuple[int, ...] = ()
) -> None:
    for step in steps:
        for parameter, gradient in zip(own, gradients(step, unused), strict=True):
            parameter.grad = gradient
        optimizer.step(RATES[step])


@pytest.mark.parametrize("unused", [(), (1,), (0,)])
def test_the_bytes_are_those_of_torch(unused: tuple[int, ...]) -> None:
    """Several steps at several rates, with decay and without, one parameter without a gradient."""
    own, other = parameters(), parameters()
    reference, optimizer = of_torch(other), ours(own)
    for step, rate in enumerate(RATES):
        for parameter, gradient in zip(other, gradients(step, unused), strict=True):
            parameter.grad = gradient
        for group in reference.param_groups:
            group["lr"] = rate
        reference.step()
        advance(own, optimizer, range(step, step + 1), unused)
        assert all(torch.equal(mine, its) for mine, its in zip(own, other, strict=True))
    moved = [not torch.equal(*pair) for pair in zip(own, parameters(), strict=True)]
    assert moved == [place not in unused for place in range(len(own))]


def test_a_taken_over_state_goes_on_alike() -> None:
    """Half of the steps, the state handed to another one, and the other half."""
    whole, halves = parameters(), parameters()
    advance(whole, ours(whole), range(4))
    first, second = ours(halves), ours(halves)
    advance(halves, first, range(2))
    second.load(first.state())
    advance(halves, second, range(2, 4))
    assert all(torch.equal(one, two) for one, two in zip(whole, halves, strict=True))
