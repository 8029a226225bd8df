"""A linear layer whose bits depend neither on the processor's maker nor on the number of threads.

torch multiplies matrices with MKL, which picks its kernels by vendor; the one setting of MKL that
does not is less than half as fast. NumPy's OpenBLAS, held to one kernel (see
refit.core.determinism), is the same on every processor with AVX2 and as fast as MKL at its best:
`benchmarks/products.py` measures both. Arrays cross between torch and NumPy without a copy.

OpenBLAS's own threads cut the rows where its kernel's tiles do not end, which moves the last bits.
So it stays at one thread, and we cut the rows ourselves, at the ends of tiles: every row meets the
same instructions whatever the number of blocks.

That is the level any-x86. At the level `threads` the large products go to MKL, whose threads start
faster, and only the small ones, whose bits its threads move, to OpenBLAS. At the level `machine`
this is nn.Linear. docs/determinism.md has the measurements.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refit.core.determinism import STRICTEST, Level

TILE = 24
"""Rows at whose multiples a product may be cut without a changed bit (the kernel takes twelve)."""
WORTHWHILE = 8_000_000
"""Multiplications that make up for handing them to a thread."""
NARROW = 32
"""Rows or columns below which MKL's threads share a sum, which moves its bits."""


@dataclass
class _Way:
    """How this process multiplies; the strictest level on one thread unless `use` was called."""

    level: Level = STRICTEST
    threads: int = 1
    helpers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))


_way = _Way()


def use(level: Level, threads: int) -> None:
    """Multiply as the level says, on so many threads."""
    _way.helpers.shutdown()
    _way.level, _way.threads = level, threads
    _way.helpers = ThreadPoolExecutor(max(threads - 1, 1), "product")


class _Product(torch.autograd.Function):
    """y = x W^T by groups that lie along an axis of x and y, see `linear`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int, axis: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups, ctx.axis = groups, axis
        y = x.new_empty(len(x), len(weight) if axis else len(weight) // groups)
        for of_x, of_weight, of_y in _grouped(groups, (x, axis), (weight, 0), (y, axis)):
            multiply(of_x, of_weight.t(), into=of_y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        for_x, for_weight, axis = torch.empty_like(x), torch.empty_like(weight), ctx.axis
        for of_gradient, of_x, of_weight, to_x, to_weight in _grouped(
            ctx.groups, (gradient, axis), (x, axis), (weight, 0), (for_x, axis), (for_weight, 0)
        ):
            if needs_x:
                multiply(of_gradient, of_weight, into=to_x)
            if needs_weight:
                multiply(of_gradient.t(), of_x, into=to_weight)
        return for_x if needs_x else None, for_weight if needs_weight else None, None, None


def _grouped(groups: int, *tensors: tuple[Tensor, int]) -> Iterator[tuple[Tensor, ...]]:
    """The tensors of each group; each is divided along its axis."""
    return zip(*(tensor.chunk(groups, axis) for tensor, axis in tensors), strict=True)


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, groups: int = 1, axis: int = 1
) -> Tensor:
    """Multiply by groups, and add b: W (G*O, I), b (G*O,).

    Args:
        x: (B, G*I) with axis 1: each group has columns of its own; (G*B, I) with axis 0: each
            group has rows of its own.
        weight: W.
        bias: b.
        groups: G.
        axis: along which the groups lie.

    Returns:
        (B, G*O) or (G*B, O).
    """
    if _way.level != "machine":
        product: Tensor = _Product.apply(x, weight, groups, axis)  # type: ignore[no-untyped-call]
    elif groups == 1:
        return functional.linear(x, weight, bias)
    else:
        product = _with_torch(x, weight, groups, axis)
    if bias is None:
        return product
    if axis:
        return product.add_(bias)
    by_group = product.view(groups, -1, product.shape[1]) + bias.view(groups, 1, -1)
    return by_group.flatten(0, 1)


def _with_torch(x: Tensor, weight: Tensor, groups: int, axis: int) -> Tensor:
    """The product of `linear` by torch's own kernels."""
    inputs = weight.shape[1]
    by_group = x.view(-1, groups, inputs).transpose(0, 1) if axis else x.view(groups, -1, inputs)
    product = by_group @ weight.view(groups, -1, inputs).transpose(1, 2)
    return product.transpose(0, 1).flatten(1) if axis else product.flatten(0, 1)


class Linear(nn.Module):
    """x -> x W^T + b, as G times nn.Linear, with a seeded uniform start.

    **Shape**: (B, G*I) -> (B, G*O), in training (G*B, I) -> (G*B, O).

    Weights start uniform in +-gain/sqrt(I) (with gain 1 the bound of nn.Linear's own start),
    biases at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        generator: torch.Generator,
        *,
        groups: int = 1,
        gain: float = 1.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.groups = groups
        bound = gain / math.sqrt(max(inputs, 1))
        start = torch.rand(groups * outputs, inputs, generator=generator)
        self.weight = nn.Parameter((start * 2 - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(groups * outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, G*I) -> (B, G*O), in training (G*B, I) -> (G*B, O)."""
        axis = 0 if self.training else 1
        return linear(x, self.weight, self.bias, groups=self.groups, axis=axis)


def multiply(a: Tensor, b: Tensor, into: Tensor | None = None) -> Tensor:
    """(M, K), (K, N) -> (M, N) float32, without a gradient."""
    product = a.new_empty(len(a), b.shape[1]) if into is None else into.detach()
    worthwhile = a.shape[0] * a.shape[1] * b.shape[1] // WORTHWHILE
    if a.shape[1] == 1:  # no sum: as fast as it reads
        return torch.mul(a.detach(), b.detach(), out=product)
    if _way.level == "threads" and worthwhile and min(a.shape[0], b.shape[1]) >= NARROW:
        return torch.mm(a.detach(), b.detach(), out=product)
    _in_blocks(product.numpy(), a.detach().numpy(), b.detach().numpy(), worthwhile)
    return product


def _in_blocks(product: np.ndarray, left: np.ndarray, right: np.ndarray, worthwhile: int) -> None:
    """The product by OpenBLAS, each thread with a block of rows."""
    whole = _way.level == "threads" or right.shape[1] == 1  # a vector's product has no tiles
    count = 1 if whole else min(_way.threads, worthwhile)
    mine, *others = blocks(len(left), count)
    waiting = [_way.helpers.submit(_fill, product, left, right, rows) for rows in others]
    _fill(product, left, right, mine)
    for helped in waiting:
        helped.result()


def blocks(rows: int, wanted: int) -> list[slice]:
    """The rows in at most so many blocks, cut at tiles; none is shorter than a tile unless alone.

    A block of a single row would be a product with a vector, which OpenBLAS computes differently.
    """
    tiles = rows // TILE
    count = max(min(wanted, tiles), 1)
    starts = [TILE * (tiles * number // count) for number in range(count)]
    return [slice(start, end) for start, end in pairwise([*starts, rows])]


def _fill(product: np.ndarray, left: np.ndarray, right: np.ndarray, rows: slice) -> None:
    with np.errstate(all="ignore"):  # the training loop judges what is not finite
        np.matmul(left[rows], right, out=product[rows])
