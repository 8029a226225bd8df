"""The bundle's model and signature, from the encoder and the trained network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from refit.data.encoder import Encoder
from refit.dataset import Roles, Task
from refit.models.network import Network
from refit.serving import onnx_graph
from refit.serving.onnx_graph import Graph


def to_onnx(network: Network, encoder: Encoder, task: Task) -> bytes:
    """One ONNX model: raw columns -> codes and mapped numbers -> network -> prediction."""
    graph = Graph()
    numbers = onnx_graph.encode_numeric(graph, encoder.numeric)
    h = _linear(graph, _numbers(graph, network, numbers), network, "numbers")
    if encoder.categorical:
        codes = onnx_graph.encode_categorical(graph, encoder.categorical)
        h = graph.add("Add", h, _categories(graph, network, codes))
    h = _silu(graph, h)
    for layer in range(len(network.hidden)):
        h = _silu(graph, _linear(graph, h, network, f"hidden.{layer}"))
    logits = _linear(graph, h, network, "head")
    if task == "regression":
        scaled = graph.add("Mul", logits, _constant(graph, network, "target_std"))
        logits = graph.add("Add", scaled, _constant(graph, network, "target_mean"))
    shape: list[str | int] = ["rows"]
    if task == "multiclass":
        shape.append(len(encoder.classes))
    output = onnx_graph.finish(graph, task, logits)
    model = graph.model(onnx_graph.column_types(encoder), (output, shape))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def signature(roles: Roles, encoder: Encoder, thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """What the model takes and gives, with the fitted range or number of words of each column."""
    numbers = [
        {
            "name": name,
            "type": "number",
            "lowest": float(fitted.knots[0]),
            "highest": float(fitted.knots[-1]),
        }
        for name, fitted in encoder.numeric.items()
    ]
    words = [
        {"name": name, "type": "string", "known": list(known)}
        for name, known in encoder.categorical.items()
    ]
    return {
        "task": roles.task,
        "target": roles.target,
        "inputs": [*numbers, *words],
        "classes": list(encoder.classes),
        "thresholds": dict(thresholds),
        "missing": "null (as input of the ONNX model: NaN, or an empty string)",
    }


def _numbers(graph: Graph, network: Network, mapped: str) -> str:
    """(rows, F) with NaN -> (rows, F*(T+2)), as Network._encode."""
    edges = network.edges.numpy()
    missing = graph.add("IsNaN", mapped)
    value = graph.add("Where", missing, graph.constant(np.array(0, np.float32)), mapped)
    third = graph.constant([2])
    bins = graph.add("Sub", graph.add("Unsqueeze", value, third), graph.constant(edges[:-1]))
    bins = graph.add("Div", bins, graph.constant(edges[1:] - edges[:-1]))
    zero, one = (graph.constant(np.array(v, np.float32)) for v in (0, 1))
    bins = graph.add("Clip", bins, zero, one)
    there = graph.cast(graph.add("Not", missing), TensorProto.FLOAT)
    bins = graph.add("Mul", bins, graph.add("Unsqueeze", there, third))
    width = network.config.numeric * network.config.bins
    flat = graph.add("Reshape", bins, graph.constant([-1, width]))
    return graph.add("Concat", value, graph.cast(missing, TensorProto.FLOAT), flat, axis=1)


def _categories(graph: Graph, network: Network, codes: list[str]) -> str:
    """The codes of each column -> (rows, H), as the network embeds and multiplies them."""
    second = graph.constant([1])
    table = graph.add("Concat", *(graph.add("Unsqueeze", c, second) for c in codes), axis=1)
    shifted = graph.add("Add", table, graph.constant(network.offsets.numpy().astype(np.int64)))
    embedded = graph.add("Gather", _constant(graph, network, "table"), shifted)
    width = len(codes) * network.config.embedding_width
    flat = graph.add("Reshape", embedded, graph.constant([-1, width]))
    return _linear(graph, flat, network, "categories")


def _linear(graph: Graph, x: str, network: Network, name: str) -> str:
    bias = f"{name}.bias"
    inputs = [x, _constant(graph, network, f"{name}.weight")]
    if bias in network.state_dict():
        inputs.append(_constant(graph, network, bias))
    return graph.add("Gemm", *inputs, transB=1)


def _silu(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _constant(graph: Graph, network: Network, name: str) -> str:
    return graph.constant(network.state_dict()[name].numpy())
