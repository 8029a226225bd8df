"""The network: a small perceptron over piecewise-linear encoded numbers and embedded categories.

The recipe follows Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning"
(2022). Only operations whose bits do not depend on the processor are used: products through
refit.training.linear_layer; SiLU, sigmoid and log-sigmoid, which are torch's own AVX2 kernels, and
no bare exp, log or softmax, which go to MKL. Dropout's masks are compared integers of NumPy's
SFC64, seeded from torch's generator: torch's own masks were a quarter of a training step.

With F numeric features, C categorical ones, batch B, T bins, width E and H:

    present   (B, F)      1 where the value is there, else 0
    value     (B, F)      the encoder's mapped value, 0 where missing
    bins      (B, F, T)   clamp((value - edge[t]) / (edge[t+1] - edge[t]), 0, 1) * present
    numbers   (B, F*(T+2))  concat(value, 1 - present, bins flattened)
    embedded  (B, C*E)    one table for all columns, column c's codes shifted by offsets[c]
    h1        (B, H)      silu(numbers W_n^T + b + embedded W_c^T), then dropout
    h2, ...   (B, H)      silu(linear(h)), then dropout
    logits    (B, outputs)
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refit.dataset import Task
from refit.training.linear_layer import Linear
from refit.training.optimizer import AdamW, Group

OUTER_EDGE = 3.1
"""Where the first bin begins and the last one ends, in standard deviations."""
LEVELS = 2**16
"""Values of the integers that decide what is dropped."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The shape of a network."""

    numeric: int
    """F, numeric features."""
    cardinalities: tuple[int, ...]
    """Codes of each categorical feature (0 unknown, 1 missing, then the vocabulary)."""
    outputs: int
    """1 for binary and regression, the number of classes for multiclass."""
    embedding_width: int
    bins: int
    hidden_width: int
    hidden_layers: int
    dropout: float


class Network(nn.Module):
    """See the module's docstring for the formula.

    **Shape**: numeric (B, F) float32 with NaN for missing, categorical (B, C) int32
    -> logits (B, outputs) float32.
    """

    edges: Tensor
    offsets: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, config: NetworkConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        seeded = generator or torch.Generator().manual_seed(0)
        starts = np.cumsum([0, *config.cardinalities])
        self.register_buffer("edges", torch.tensor(bin_edges(config.bins)))
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int32))
        self.register_buffer("target_mean", torch.tensor(0.0))
        self.register_buffer("target_std", torch.tensor(1.0))
        width, hidden = config.embedding_width, config.hidden_width
        table = torch.rand(int(starts[-1]), width, generator=seeded)
        self.table = nn.Parameter((table * 2 - 1) / math.sqrt(width))
        self.numbers = Linear(config.numeric * (config.bins + 2), hidden, seeded)
        self.categories = Linear(len(config.cardinalities) * width, hidden, seeded, bias=False)
        self.hidden = nn.ModuleList(
            Linear(hidden, hidden, seeded) for _ in range(config.hidden_layers - 1)
        )
        self.head = Linear(hidden, config.outputs, seeded)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """(B, F) float32, (B, C) int32 -> (B, outputs)."""
        h = self.numbers(self._encode(numeric))
        if self.config.cardinalities:
            codes = categorical + self.offsets
            embedded = functional.embedding(codes, self.table).flatten(1)
            h = h + self.categories(embedded)
        h = self._activate(h)
        for layer in self.hidden:
            h = self._activate(layer(h))
        logits: Tensor = self.head(h)
        return logits

    def _encode(self, numeric: Tensor) -> Tensor:
        """(B, F) with NaN -> (B, F*(T+2))."""
        missing = numeric.isnan()
        value = numeric.masked_fill(missing, 0)
        low, width = self.edges[:-1], self.edges[1:] - self.edges[:-1]
        bins = ((value.unsqueeze(2) - low) / width).clamp_(0, 1)
        bins = bins * (~missing).unsqueeze(2)
        return torch.cat([value, missing.float(), bins.flatten(1)], dim=1)

    def _activate(self, h: Tensor) -> Tensor:
        active = functional.silu(h)
        share = self.config.dropout
        return active * dropout_mask(h.shape, share) if self.training and share else active

    def standardise(self, target: np.ndarray) -> None:
        """Learn the mean and deviation of a regression target (N,); sums are exact."""
        values = [float(value) for value in target]
        mean = math.fsum(values) / len(values)
        variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
        self.target_mean.fill_(mean)
        self.target_std.fill_(math.sqrt(variance) or 1.0)

    def loss(self, task: Task, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of a batch: log loss, or squared error of the standardised target.

        Args:
            task: binary, multiclass or regression.
            logits: (B, outputs).
            target: (B,) float32 0/1 or value, or int64 class number.
        """
        if task == "multiclass":
            chosen = logits.gather(1, target.unsqueeze(1)).squeeze(1)
            return (log_sum_exp(logits) - chosen).mean()
        flat = logits.squeeze(1)
        if task == "binary":
            return (flat * (1 - target) - functional.logsigmoid(flat)).mean()
        return ((flat - (target - self.target_mean) / self.target_std) ** 2).mean()

    def predict(self, task: Task, logits: Tensor) -> Tensor:
        """Probabilities (B,) or (B, K), or values (B,), of logits (B, outputs)."""
        if task == "multiclass":
            below = logits - log_sum_exp(logits).unsqueeze(1)
            return torch.sigmoid(below) / torch.sigmoid(-below)
        flat = logits.squeeze(1)
        return torch.sigmoid(flat) if task == "binary" else self._raise(flat)

    def _raise(self, flat: Tensor) -> Tensor:
        return flat * self.target_std + self.target_mean


def dropout_mask(shape: torch.Size, share: float) -> Tensor:
    """Zeros for about `share` of the elements (in steps of 1/65536), 1 / (1 - share) elsewhere."""
    threshold = round(share * LEVELS)
    seed = int(torch.randint(2**63 - 1, ()))
    elements = shape.numel()
    raw = np.random.SFC64(seed).random_raw(-(-elements // 4)).view(np.uint16)[:elements]
    scale = np.float32(LEVELS / (LEVELS - threshold))
    return torch.from_numpy(np.multiply(raw >= threshold, scale, dtype=np.float32)).view(shape)


def log_sum_exp(logits: Tensor) -> Tensor:
    """(B, K) -> (B,) log of the sum of exponentials, folded pair by pair through log-sigmoid.

    log(e^a + e^b) = max(a, b) - logsigmoid(|a - b|), which needs neither exp nor log.
    """
    total = logits[:, 0]
    for column in logits.unbind(1)[1:]:
        distance = (total - column).abs()
        total = torch.maximum(total, column) - functional.logsigmoid(distance)
    return total


def bin_edges(bins: int) -> list[float]:
    """T+1 edges: the standard normal's quantiles, so that each bin holds about as many rows."""
    normal = NormalDist()
    inner = [round(normal.inv_cdf(i / bins), 6) for i in range(1, bins)]
    edges = [-OUTER_EDGE, *inner, OUTER_EDGE]
    if any(high <= low for low, high in pairwise(edges)):
        raise ValueError(f"{bins} bins are more than the normal's range holds")
    return edges


def optimizer(network: Network, *, weight_decay: float) -> AdamW:
    """AdamW; only matrices of the layers decay, neither biases nor embeddings."""
    layers = [p for n, p in network.named_parameters() if p.ndim == 2 and n != "table"]
    chosen = {id(p) for p in layers}
    others = [p for p in network.parameters() if id(p) not in chosen]
    return AdamW(
        Group(parameters=layers, weight_decay=weight_decay),
        Group(parameters=others, weight_decay=0.0),
    )
