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
    """y = x W^T, with x (B, I), W (O, I), y (B, O), all float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return multiply(x, weight.t())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad
        return (
            multiply(gradient, weight) if needs_x else None,
            multiply(gradient.t(), x) if needs_weight else None,
        )


class Linear(nn.Module):
    """x (B, I) -> x W^T + b (B, O), as nn.Linear, with a seeded uniform start.

    Weights start uniform in +-1/sqrt(I) (the bound of nn.Linear's own start), biases at zero.
    """

    def __init__(
        self, inputs: int, outputs: int, generator: torch.Generator, *, bias: bool = True
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(inputs, 1))
        start = torch.rand(outputs, inputs, generator=generator)
        self.weight = nn.Parameter((start * 2 - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, I) -> (B, O)."""
        if _way.level == "machine":
            return functional.linear(x, self.weight, self.bias)
        product: Tensor = _Product.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """(M, K), (K, N) -> (M, N) float32, without a gradient."""
    worthwhile = a.shape[0] * a.shape[1] * b.shape[1] // WORTHWHILE
    if _way.level == "threads" and worthwhile and min(a.shape[0], b.shape[1]) >= NARROW:
        return a.detach() @ b.detach()
    return _in_blocks(a.detach().numpy(), b.detach().numpy(), worthwhile)


def _in_blocks(left: np.ndarray, right: np.ndarray, worthwhile: int) -> Tensor:
    """The product by OpenBLAS, each thread with a block of rows."""
    product = np.empty((len(left), right.shape[1]), dtype=np.float32)
    whole = _way.level == "threads" or right.shape[1] == 1  # a vector's product has no tiles
    count = 1 if whole else min(_way.threads, worthwhile)
    mine, *others = blocks(len(left), count)
    waiting = [_way.helpers.submit(_fill, product, left, right, rows) for rows in others]
    _fill(product, left, right, mine)
    for helped in waiting:
        helped.result()
    return torch.from_numpy(product)


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
