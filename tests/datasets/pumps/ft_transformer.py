"""A small FT-Transformer (Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data").

A user's own model: `Params` adds hyperparameters to the loop's, `Model` is the module.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from refit.core.params import param
from refit.models.model import Shape
from refit.training.loop_params import LoopParams


@dataclass(frozen=True, kw_only=True)
class Params(LoopParams):
    """Section `ft_transformer` of params.yaml."""

    width: int = param("numbers of a token", minimum=4)
    heads: int = param("attention heads, a divisor of the width", minimum=1)
    blocks: int = param("transformer blocks", minimum=1)
    dropout: float = param("share dropped in each block", minimum=0, maximum=0.9)


class Model(nn.Module):
    """A token for each feature and one for the answer, some blocks, a linear head.

    **Shape**: numeric (B, F), categorical (B, C) -> (B, K).
    """

    def __init__(self, shape: Shape, settings: Params) -> None:
        super().__init__()
        width = settings.width
        self.weight = nn.Parameter(torch.randn(shape.numeric, width) / width**0.5)
        self.bias = nn.Parameter(torch.randn(shape.numeric, width) / width**0.5)
        self.missing = nn.Parameter(torch.randn(shape.numeric, width) / width**0.5)
        self.tables = nn.ModuleList(nn.Embedding(codes, width) for codes in shape.cardinalities)
        self.answer = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                settings.heads,
                2 * width,
                dropout=settings.dropout,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(settings.blocks)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, shape.outputs))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """(B, F) with NaN for missing, (B, C) codes -> (B, K)."""
        missing = numeric.isnan().unsqueeze(2)
        value = torch.nan_to_num(numeric).unsqueeze(2)
        numbers = torch.where(missing, self.missing, value * self.weight + self.bias)
        words = [table(categorical[:, [column]]) for column, table in enumerate(self.tables)]
        answer = self.answer.expand(numeric.shape[0], -1, -1)
        tokens = torch.cat([answer, numbers, *words], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        outputs: Tensor = self.head(tokens[:, 0])
        return outputs
