"""The bundle's model and signature, from the encoder and a fitted model."""

from collections.abc import Mapping
from typing import Any, Protocol

from refit.data.encoder import Encoder
from refit.dataset import Roles
from refit.serving.onnx_encoder import Features, column_types
from refit.serving.onnx_graph import Graph


class Exporting(Protocol):
    """A fitted model that can be added to a graph."""

    def to_onnx(self, graph: Graph, features: Features) -> str:
        """Add the nodes from features to prediction; returns the name of the prediction."""


def to_onnx(model: Exporting, encoder: Encoder) -> bytes:
    """One ONNX model: raw columns -> codes and mapped numbers -> model -> prediction."""
    graph = Graph()
    prediction = model.to_onnx(graph, Features(graph=graph, encoder=encoder))
    shape: list[str | int] = ["rows"]
    if encoder.classes:
        shape.append(len(encoder.classes))
    exported = graph.model(column_types(encoder), (prediction, shape))
    data: bytes = exported.SerializeToString(deterministic=True)
    return data


def signature(roles: Roles, encoder: Encoder, thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with their fitted ranges and known words, the target, classes and thresholds."""
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
