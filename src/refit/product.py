"""A linear layer whose bits do not depend on the processor's maker.

torch multiplies matrices with MKL, which picks its kernels by vendor; the one setting of MKL that
does not is less than half as fast. NumPy's OpenBLAS, held to one kernel (see
refit.core.determinism), is the same on every processor with AVX2 and as fast as MKL at its best:
`benchmarks/products.py` measures both. Arrays cross between torch and NumPy without a copy.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class _Product(torch.autograd.Function):
    """y = x W^T, with x (B, I), W (O, I), y (B, O), all float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _matmul(x, weight.t())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad
        return (
            _matmul(gradient, weight) if needs_x else None,
            _matmul(gradient.t(), x) if needs_weight else None,
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
        product: Tensor = _Product.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    with np.errstate(all="ignore"):  # the training loop judges what is not finite
        return torch.from_numpy(np.matmul(a.detach().numpy(), b.detach().numpy()))
