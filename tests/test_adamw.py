"""The optimizer against torch.optim.AdamW, bit for bit."""

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
    drawn = [torch.randn_like(p) for p in parameters()]
    return [None if place in unused else tensor for place, tensor in enumerate(drawn)]


def torch_optimizer(tensors: list[nn.Parameter]) -> torch.optim.AdamW:
    groups = [
        {"params": tensors[:1], "weight_decay": DECAY},
        {"params": tensors[1:], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=BETAS, fused=True)


def our_optimizer(tensors: list[nn.Parameter]) -> AdamW:
    return AdamW(
        Group(parameters=tensors[:1], weight_decay=DECAY),
        Group(parameters=tensors[1:], weight_decay=0.0),
    )


def advance(
    tensors: list[nn.Parameter], optimizer: AdamW, steps: range, unused: tuple[int, ...] = ()
) -> None:
    for step in steps:
        for parameter, gradient in zip(tensors, gradients(step, unused), strict=True):
            parameter.grad = gradient
        optimizer.step(RATES[step])


@pytest.mark.parametrize("unused", [(), (1,), (0,)])
def test_the_bytes_are_those_of_torch(unused: tuple[int, ...]) -> None:
    """Several steps at several rates, with and without decay, one parameter without a gradient."""
    ours, theirs = parameters(), parameters()
    reference, optimizer = torch_optimizer(theirs), our_optimizer(ours)
    for step, rate in enumerate(RATES):
        for parameter, gradient in zip(theirs, gradients(step, unused), strict=True):
            parameter.grad = gradient
        for group in reference.param_groups:
            group["lr"] = rate
        reference.step()
        advance(ours, optimizer, range(step, step + 1), unused)
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
    moved = [not torch.equal(*pair) for pair in zip(ours, parameters(), strict=True)]
    assert moved == [place not in unused for place in range(len(ours))]


def test_a_loaded_state_continues_identically() -> None:
    """An optimizer that loads another's state after half of the steps ends in the same bytes."""
    whole, halves = parameters(), parameters()
    advance(whole, our_optimizer(whole), range(4))
    first, second = our_optimizer(halves), our_optimizer(halves)
    advance(halves, first, range(2))
    second.load(first.state())
    advance(halves, second, range(2, 4))
    assert all(torch.equal(one, two) for one, two in zip(whole, halves, strict=True))
