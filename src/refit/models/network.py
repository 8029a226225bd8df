"""The built-in network: a perceptron over piecewise-linear encoded numbers and embedded categories.

The recipe follows Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning"
(2022). It uses only operations whose bits do not depend on the processor: products through
refit.training.linear_layer, and SiLU, sigmoid and log-sigmoid, which are torch's own AVX2 kernels.
A bare exp, log or softmax would go to MKL. Dropout's masks are compared integers of NumPy's SFC64,
seeded from torch's generator: torch's own masks were a quarter of a training step.

With F numeric features, C categorical ones, batch B, T bins, width E and H:

    present   (B, F)      1 where the value is there, otherwise 0
    value     (B, F)      the encoder's mapped value, 0 where missing
    bins      (B, F, T)   clamp((value - edge[t]) / (edge[t+1] - edge[t]), 0, 1) * present
    numbers   (B, F*(T+2))  concat(value, 1 - present, bins flattened)
    embedded  (B, C*E)    one table for all columns, column c's codes shifted by offsets[c]
    h1        (B, H)      silu(numbers W_n^T + b + embedded W_c^T), then dropout
    h2, ...   (B, H)      silu(linear(h)), then dropout
    outputs   (B, K)
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
from refit.training.linear_layer import Linear
from refit.training.loop_params import LoopParams
from refit.training.trainable import Trainable
from refit.training.trained import Trained
from refit.workspace import memory

if TYPE_CHECKING:
    from refit.serving.onnx_encoder import Features
    from refit.serving.onnx_graph import Graph

OUTER_EDGE = 3.1
"""Where the first bin begins and the last one ends, in standard deviations."""
BYTES_A_WEIGHT = 6 * 4
"""The weight, its gradient, two moments, the best epoch's weight, and a checkpoint's copy."""
LEVELS = 2**16
"""Values of the integers that decide what is dropped."""


@dataclass(frozen=True, kw_only=True)
class NetworkParams(LoopParams):
    """Section `network` of params.yaml."""

    hidden_width: int = param("units of a hidden layer", minimum=1, maximum=16_384)
    hidden_layers: int = param("hidden layers", minimum=1, maximum=100)
    embedding_width: int = param("numbers that stand for a category", minimum=1, maximum=1_024)
    bins: int = param("bins of the piecewise-linear encoding", minimum=1, maximum=1_000)
    dropout: float = param("share of hidden units dropped while training", minimum=0, maximum=0.95)


class Network(Trainable):
    """See the module's docstring for the formula.

    **Shape**: numeric (B, F) float32 with NaN for missing, categorical (B, C) int32
    -> outputs (B, K) float32.
    """

    edges: Tensor
    offsets: Tensor

    def __init__(self, shape: Shape, settings: NetworkParams, *, seed: int = 0) -> None:
        super().__init__()
        self.shape, self.settings = shape, settings
        seeded = torch.Generator().manual_seed(seed)
        starts = np.cumsum([0, *shape.cardinalities])
        self.register_buffer("edges", torch.tensor(bin_edges(settings.bins)))
        self.register_buffer("offsets", torch.tensor(starts[:-1], dtype=torch.int32))
        width, hidden = settings.embedding_width, settings.hidden_width
        table = torch.rand(int(starts[-1]), width, generator=seeded)
        self.table = nn.Parameter((table * 2 - 1) / math.sqrt(width))
        self.numbers = Linear(shape.numeric * (settings.bins + 2), hidden, seeded)
        self.categories = Linear(len(shape.cardinalities) * width, hidden, seeded, bias=False)
        self.hidden = nn.ModuleList(
            Linear(hidden, hidden, seeded) for _ in range(settings.hidden_layers - 1)
        )
        self.head = Linear(hidden, shape.outputs, seeded)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """(B, F) float32, (B, C) int32 -> (B, K)."""
        h = self.numbers(self._encode(numeric))
        if self.shape.cardinalities:
            codes = categorical + self.offsets
            embedded = functional.embedding(codes, self.table).flatten(1)
            h = h + self.categories(embedded)
        h = self._activate(h)
        for layer in self.hidden:
            h = self._activate(layer(h))
        outputs: Tensor = self.head(h)
        return outputs

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
        share = self.settings.dropout
        return active * dropout_mask(h.shape, share) if self.training and share else active

    def decaying(self) -> list[nn.Parameter]:
        """The matrices of the layers: neither biases nor embeddings."""
        return [p for n, p in self.named_parameters() if p.ndim == 2 and n != "table"]


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
        outputs = _forward_in_onnx(self.module, graph, features)
        return self.task.to_onnx(graph, outputs, self.scale)


class NetworkModel:
    """`train.model: network`."""

    name = "network"
    params = NetworkParams

    def fit(self, data: Data, settings: NetworkParams, session: Session) -> FittedNetwork:
        """Train a network; resumes from the session's checkpoints."""
        _require_memory(data.shape, settings)
        setup.prepare(session.seed, session.level, session.threads)
        network = Network(data.shape, settings, seed=session.seed)
        return FittedNetwork(
            module=network,
            shape=data.shape,
            settings=settings,
            task=data.task,
            trained=train_module(network, data, settings, session),
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
    first = hidden * (shape.numeric * (settings.bins + 2) + columns * width + 1)
    layers = (settings.hidden_layers - 1) * hidden * (hidden + 1)
    return codes * width + first + layers + shape.outputs * (hidden + 1)


def _require_memory(shape: Shape, settings: NetworkParams) -> None:
    count = weights_of(shape, settings)
    memory.require(
        count * BYTES_A_WEIGHT,
        f"a network of {count:,} weights",
        where="params.yaml, section `network`",
        do="make `hidden_width`, `hidden_layers`, `bins` or `embedding_width` smaller",
    )


def _forward_in_onnx(network: Network, graph: "Graph", features: "Features") -> str:
    h = _linear(graph, _numbers(graph, network, features.numbers()), network, "numbers")
    if network.shape.cardinalities:
        h = graph.add("Add", h, _categories(graph, network, features.codes()))
    h = _silu(graph, h)
    for layer in range(len(network.hidden)):
        h = _silu(graph, _linear(graph, h, network, f"hidden.{layer}"))
    return _linear(graph, h, network, "head")


def _numbers(graph: "Graph", network: Network, mapped: str) -> str:
    """(rows, F) with NaN -> (rows, F*(T+2)), as Network._encode."""
    edges = network.edges.numpy()
    missing = graph.add("IsNaN", mapped)
    value = graph.add("Where", missing, graph.constant(np.array(0, np.float32)), mapped)
    third = graph.constant([2])
    bins = graph.add("Sub", graph.add("Unsqueeze", value, third), graph.constant(edges[:-1]))
    bins = graph.add("Div", bins, graph.constant(edges[1:] - edges[:-1]))
    zero, one = (graph.constant(np.array(v, np.float32)) for v in (0, 1))
    bins = graph.add("Clip", bins, zero, one)
    there = graph.to_float(graph.add("Not", missing))
    bins = graph.add("Mul", bins, graph.add("Unsqueeze", there, third))
    width = network.shape.numeric * network.settings.bins
    flat = graph.add("Reshape", bins, graph.constant([-1, width]))
    return graph.add("Concat", value, graph.to_float(missing), flat, axis=1)


def _categories(graph: "Graph", network: Network, codes: list[str]) -> str:
    """The codes of each column -> (rows, H), as the network embeds and multiplies them."""
    second = graph.constant([1])
    table = graph.add("Concat", *(graph.add("Unsqueeze", c, second) for c in codes), axis=1)
    shifted = graph.add("Add", table, graph.constant(network.offsets.numpy().astype(np.int64)))
    embedded = graph.add("Gather", _constant(graph, network, "table"), shifted)
    width = len(codes) * network.settings.embedding_width
    flat = graph.add("Reshape", embedded, graph.constant([-1, width]))
    return _linear(graph, flat, network, "categories")


def _linear(graph: "Graph", x: str, network: Network, name: str) -> str:
    bias = f"{name}.bias"
    inputs = [x, _constant(graph, network, f"{name}.weight")]
    if bias in network.state_dict():
        inputs.append(_constant(graph, network, bias))
    return graph.add("Gemm", *inputs, transB=1)


def _silu(graph: "Graph", x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _constant(graph: "Graph", network: Network, name: str) -> str:
    return graph.constant(network.state_dict()[name].numpy())
