"""The built-in network: some small perceptrons side by side, whose outputs are averaged.

Each member reads all piecewise-linear encoded numbers and embedded categories, as in Gorishniy et
al., "On Embeddings for Numerical Features in Tabular Deep Learning" (2022). The members share
nothing but the steps: each has its own weights, embeddings and order of the rows, because members
that share them make the same errors. Each learns a scale for every feature, stored as a twentieth
and used twenty times, so that it moves fast: useless features fade and useful ones grow within the
few steps of an epoch.

Only operations are used whose bits do not depend on the processor: products through
refit.training.linear_layer, and SiLU, sigmoid and log-sigmoid, which are torch's own AVX2 kernels.
A bare exp, log or softmax would go to MKL. Dropout's masks are compared integers of NumPy's SFC64,
seeded from torch's generator: torch's own masks were a quarter of a training step.

With F numeric features, C categorical ones, batch B, T bins, width E, M members and H units each:

    present   (B, F)      1 where the value is there, otherwise 0
    value     (B, F)      the encoder's mapped value, 0 where missing
    bins      (B, T, F)   clamp((value - edge[t]) / (edge[t+1] - edge[t]), 0, 1) * present
    numbers   (B, (T+2)*F)  concat(value, 1 - present, bins flattened)
    embedded  (B, M*C*E)  one table, member m's codes of column c shifted by offsets[m, c]
    h1        (B, M*H)    silu(numbers (s W)_n^T + b + embedded (s W)_c^T), then dropout
    h2, ...   (B, M*H)    silu(linear(h)), each member for itself, then dropout
    outputs   (B, K)      the mean of the members' outputs

In training, B rows of each member follow each other: (M*B, F), ..., (M*B, H), (M*B, K).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refit.core.params import param
from refit.models.fitted_torch import FittedTorch, described_shape, train_module
from refit.models.model import Data, Session, Shape
from refit.tasks.task import Task
from refit.training import setup, weights
from refit.training.linear_layer import Linear, linear
from refit.training.loop_params import LoopParams
from refit.training.trainable import Trainable
from refit.training.trained import Trained
from refit.workspace import memory

if TYPE_CHECKING:
    from refit.serving.onnx_encoder import Features
    from refit.serving.onnx_graph import Graph

OUTER_EDGE = 3.1
"""Where the first bin begins and the last one ends, in standard deviations."""
GAIN = 2.0
"""The starting weights, in those of nn.Linear."""
SPEED = 20.0
"""How much faster a feature's scale moves than other weights."""
BYTES_A_WEIGHT = 6 * 4
"""The weight, its gradient, two moments, the best epoch's weight, and a checkpoint's copy."""
LEVELS = 2**16
"""Values of the integers that decide what is dropped."""


@dataclass(frozen=True, kw_only=True)
class NetworkParams(LoopParams):
    """Section `network` of params.yaml."""

    members: int = param("networks side by side, whose outputs are averaged", minimum=1, maximum=64)
    hidden_width: int = param("units of a member's hidden layer", minimum=1, maximum=16_384)
    hidden_layers: int = param("hidden layers", minimum=1, maximum=100)
    embedding_width: int = param("numbers that stand for a category", minimum=1, maximum=1_024)
    bins: int = param("bins of the piecewise-linear encoding", minimum=1, maximum=1_000)
    dropout: float = param("share of hidden units dropped while training", minimum=0, maximum=0.95)


class ScaledLinear(Linear):
    """The members' first layer, on F features of some columns each, with learnt scales.

    **Shape**: x (B, columns) or, with columns of each member's own, (B, M*columns) -> (B, M*H);
    in training (M*B, columns) -> (M*B, H).
    """

    def __init__(
        self,
        shape: tuple[int, int],
        outputs: int,
        generator: torch.Generator,
        *,
        members: int,
        by_feature: bool,
        bias: bool = True,
    ) -> None:
        """Make the layer.

        Args:
            shape: features, and columns of each.
            outputs: of each member.
            generator: of the starting weights.
            members: M.
            by_feature: whether the columns of a feature follow each other; otherwise the first
                columns of all features come first, then the second ones.
            bias: whether there is one.
        """
        features, columns = shape
        super().__init__(features * columns, members * outputs, generator, gain=GAIN, bias=bias)
        self.members, self.columns, self.by_feature = members, columns, by_feature
        self.scale = nn.Parameter(torch.full((members, features), 1 / SPEED))

    def scaled(self) -> Tensor:
        """(M*H, columns) the weights times the scales of their features."""
        scale = (SPEED * self.scale).unsqueeze(2 if self.by_feature else 1)
        shape = (-1, -1, self.columns) if self.by_feature else (-1, self.columns, -1)
        columns = scale.expand(shape).flatten(1).unsqueeze(1)
        by_member = self.weight.view(self.members, -1, self.weight.shape[1])
        scaled: Tensor = (by_member * columns).flatten(0, 1)
        return scaled

    def forward(self, x: Tensor) -> Tensor:
        """(B, columns) or (B, M*columns) -> (B, M*H), in training (M*B, columns) -> (M*B, H)."""
        own_rows, own_columns = self.training, x.shape[1] > self.weight.shape[1]
        groups = self.members if own_rows or own_columns else 1
        return linear(x, self.scaled(), self.bias, groups=groups, axis=0 if own_rows else 1)


class Network(Trainable):
    """See the module's docstring for the formula.

    **Shape**: numeric (B, F) float32 with NaN for missing, categorical (B, C) int32
    -> outputs (B, K) float32; in training each member has B rows of its own.
    """

    edges: Tensor
    offsets: Tensor

    def __init__(self, shape: Shape, settings: NetworkParams, *, seed: int = 0) -> None:
        super().__init__()
        self.shape, self.settings, self.members = shape, settings, settings.members
        seeded = torch.Generator().manual_seed(seed)
        starts = np.cumsum([0, *shape.cardinalities])
        self.register_buffer("edges", torch.tensor(bin_edges(settings.bins)))
        offsets = starts[:-1] + starts[-1] * np.arange(self.members)[:, None]
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int32))
        width, hidden = settings.embedding_width, settings.hidden_width
        table = torch.rand(self.members * int(starts[-1]), width, generator=seeded)
        self.table = nn.Parameter((table * 2 - 1) / math.sqrt(width))
        first: dict[str, Any] = {"members": self.members, "generator": seeded, "outputs": hidden}
        self.numbers = ScaledLinear((shape.numeric, settings.bins + 2), by_feature=False, **first)
        self.categories = ScaledLinear(
            (len(shape.cardinalities), width), by_feature=True, bias=False, **first
        )
        later: dict[str, Any] = {"generator": seeded, "groups": self.members, "gain": GAIN}
        self.hidden = nn.ModuleList(
            Linear(hidden, hidden, **later) for _ in range(settings.hidden_layers - 1)
        )
        self.head = Linear(hidden, shape.outputs, **later)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """(B, F) float32, (B, C) int32 -> (B, K), in training (M*B, F), (M*B, C) -> (M*B, K)."""
        h = self.numbers(self._encode(numeric))
        if self.shape.cardinalities:
            h += self.categories(self._embed(categorical))
        h = self._activate(h)
        for layer in self.hidden:
            h = self._activate(layer(h))
        outputs: Tensor = self.head(h)
        return outputs if self.training else outputs.view(len(h), self.members, -1).mean(1)

    def _embed(self, categorical: Tensor) -> Tensor:
        """(B, C) -> (B, M*C*E), in training (M*B, C) -> (M*B, C*E)."""
        if self.training:
            by_member = categorical.view(self.members, -1, categorical.shape[1])
            codes = (by_member + self.offsets.unsqueeze(1)).flatten(0, 1)
        else:
            codes = (categorical.unsqueeze(1) + self.offsets).flatten(1)
        return functional.embedding(codes, self.table).flatten(1)

    def _encode(self, numeric: Tensor) -> Tensor:
        """(B, F) with NaN -> (B, (T+2)*F)."""
        missing = numeric.isnan()
        low = self.edges[:-1].unsqueeze(1)
        # A missing value stands at the first edge, where every bin is 0.
        bins = numeric.masked_fill(missing, -OUTER_EDGE).unsqueeze(1) - low
        bins.mul_(self.slopes).clamp_(0, 1)
        return torch.cat([numeric.masked_fill(missing, 0), missing, bins.flatten(1)], dim=1)

    @property
    def slopes(self) -> Tensor:
        """(T, 1) how fast each bin fills."""
        return (1 / (self.edges[1:] - self.edges[:-1])).unsqueeze(1)

    def _activate(self, h: Tensor) -> Tensor:
        active = functional.silu(h)
        share = self.settings.dropout
        return active * dropout_mask(h.shape, share) if self.training and share else active

    def decaying(self) -> list[nn.Parameter]:
        """The matrices of the layers: neither biases, scales nor embeddings."""
        return [p for n, p in self.named_parameters() if n.endswith(".weight")]


def dropout_mask(shape: torch.Size, share: float) -> Tensor:
    """Zeros for about `share` of the elements (in steps of 1/65536), 1 / (1 - share) elsewhere."""
    threshold = round(share * LEVELS)
    seed = int(torch.randint(2**63 - 1, ()))
    elements = shape.numel()
    raw = np.random.SFC64(seed).random_raw(-(-elements // 4)).view(np.uint16)[:elements]
    scale = np.float32(LEVELS / (LEVELS - threshold))
    return torch.from_numpy(np.multiply(raw >= threshold, scale, dtype=np.float32)).view(shape)


def bin_edges(bins: int) -> list[float]:
    """T+1 edges: the standard normal's quantiles, so that each bin holds about as many rows."""
    normal = NormalDist()
    inner = [round(normal.inv_cdf(i / bins), 6) for i in range(1, bins)]
    edges = [-OUTER_EDGE, *inner, OUTER_EDGE]
    if any(high <= low for low, high in pairwise(edges)):
        raise ValueError(f"{bins} bins are more than the normal's range holds")
    return edges


class FittedNetwork(FittedTorch[Network]):
    """A trained network."""

    def to_onnx(self, graph: "Graph", features: "Features") -> str:
        """The nodes of `Network.forward` and of the task's prediction."""
        from refit.models import network_export

        outputs = network_export.add(self.module, graph, features)
        return self.task.to_onnx(graph, outputs, self.scale)


class NetworkModel:
    """`train.model: network`."""

    name = "network"
    params = NetworkParams

    def fit(
        self,
        data: Data,
        settings: NetworkParams,
        session: Session,
        *,
        length: int | None = None,
    ) -> FittedNetwork:
        """Train a network; resumes from the session's checkpoints."""
        _require_memory(data.shape, settings)
        setup.prepare(session.seed, session.level, session.threads)
        setup.leave_memory_unfilled()
        network = Network(data.shape, settings, seed=session.seed)
        return FittedNetwork(
            module=network,
            shape=data.shape,
            settings=settings,
            task=data.task,
            trained=train_module(network, data, settings, session, length),
            level=session.level,
        )

    def load(self, folder: Path, task: Task, description: Mapping[str, Any]) -> FittedNetwork:
        """The network that `save` and `describe` left."""
        shape = described_shape(description)
        settings = NetworkParams(**description["settings"])
        network = Network(shape, settings)
        weights.load(folder, network)
        return FittedNetwork(
            module=network,
            shape=shape,
            settings=settings,
            task=task,
            trained=Trained.from_description(description),
            level=description["level"],
        )


def weights_of(shape: Shape, settings: NetworkParams) -> int:
    """How many weights the network has."""
    width, hidden = settings.embedding_width, settings.hidden_width
    codes, columns = sum(shape.cardinalities), len(shape.cardinalities)
    scales = shape.numeric + columns
    first = hidden * (shape.numeric * (settings.bins + 2) + columns * width + 1)
    layers = (settings.hidden_layers - 1) * hidden * (hidden + 1)
    member = codes * width + scales + first + layers + shape.outputs * (hidden + 1)
    return settings.members * member


def _require_memory(shape: Shape, settings: NetworkParams) -> None:
    count = weights_of(shape, settings)
    memory.require(
        count * BYTES_A_WEIGHT,
        f"a network of {count:,} weights",
        where="params.yaml, section `network`",
        do="make `hidden_width`, `hidden_layers`, `bins` or `embedding_width` smaller",
    )
