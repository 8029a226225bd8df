"""The built-in network as ONNX nodes; see refit.models.network for the formula and the letters."""

from typing import TYPE_CHECKING, cast

import numpy as np
from torch import Tensor

from refit.models.network import OUTER_EDGE, Network
from refit.training.linear_layer import Linear

if TYPE_CHECKING:
    from refit.serving.onnx_encoder import Features
    from refit.serving.onnx_graph import Graph


def add(network: Network, graph: "Graph", features: "Features") -> str:
    """The nodes of `Network.forward` without dropout: (rows, K)."""
    h = _numbers(graph, network, features.numbers())
    bias = [] if network.numbers.bias is None else [_constant(graph, network.numbers.bias)]
    h = graph.add("Gemm", h, _constant(graph, network.numbers.scaled()), *bias, transB=1)
    h = _by_member(graph, network, h, network.settings.hidden_width)
    if network.shape.cardinalities:
        h = graph.add("Add", h, _categories(graph, network, features.code_matrix()))
    h = _silu(graph, h)
    for layer in network.hidden:
        h = _silu(graph, _each_member(graph, h, cast("Linear", layer)))
    outputs = _each_member(graph, h, network.head)
    return graph.add("ReduceMean", outputs, graph.constant([0]), keepdims=0)


def _numbers(graph: "Graph", network: Network, mapped: str) -> str:
    """(rows, F) with NaN -> (rows, (T+2)*F), as Network._encode."""
    missing = graph.add("IsNaN", mapped)
    zero, one, outer = (graph.constant(np.array(v, np.float32)) for v in (0, 1, -OUTER_EDGE))
    value = graph.add("Where", missing, zero, mapped)
    binned = graph.add("Where", missing, outer, mapped)
    binned = graph.add("Unsqueeze", binned, graph.constant([1]))
    bins = graph.add("Sub", binned, _constant(graph, network.edges[:-1].unsqueeze(1)))
    bins = graph.add("Mul", bins, _constant(graph, network.slopes))
    bins = graph.add("Clip", bins, zero, one)
    width = network.shape.numeric * network.settings.bins
    flat = graph.add("Reshape", bins, graph.constant([-1, width]))
    return graph.add("Concat", value, graph.to_float(missing), flat, axis=1)


def _categories(graph: "Graph", network: Network, codes: str) -> str:
    """The codes (rows, C) -> (M, rows, H), as the network embeds and multiplies them."""
    by_member = graph.add("Unsqueeze", codes, graph.constant([1]))
    shifted = graph.add("Add", by_member, _constant(graph, network.offsets.long()))
    embedded = graph.add("Gather", _constant(graph, network.table), shifted)
    width = len(network.shape.cardinalities) * network.settings.embedding_width
    weight = network.categories.scaled().view(network.members, -1, width).transpose(1, 2)
    x = _by_member(graph, network, embedded, width)
    return graph.add("MatMul", x, _constant(graph, weight))


def _by_member(graph: "Graph", network: Network, x: str, width: int) -> str:
    """(rows, M*width in any shape) -> (M, rows, width)."""
    rows = graph.add("Reshape", x, graph.constant([-1, network.members, width]))
    return graph.add("Transpose", rows, perm=[1, 0, 2])


def _each_member(graph: "Graph", x: str, layer: Linear) -> str:
    """(M, rows, I) -> (M, rows, O)."""
    weight = layer.weight.view(layer.groups, -1, layer.weight.shape[1]).transpose(1, 2)
    product = graph.add("MatMul", x, _constant(graph, weight))
    if layer.bias is None:
        return product
    return graph.add("Add", product, _constant(graph, layer.bias.view(layer.groups, 1, -1)))


def _silu(graph: "Graph", x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _constant(graph: "Graph", tensor: Tensor) -> str:
    return graph.constant(tensor.detach().contiguous().numpy())
