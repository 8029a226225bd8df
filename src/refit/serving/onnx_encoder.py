"""The fitted encoder as ONNX nodes: raw columns -> the features that a model reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from refit.data.encoder import FIRST, MISSING, UNKNOWN, Encoder, NumericMap
from refit.serving import onnx_search
from refit.serving.onnx_graph import Graph


@dataclass(frozen=True, kw_only=True)
class Features:
    """Adds the encoded features to the graph; a model takes each kind once, in any order."""

    graph: Graph
    encoder: Encoder

    def numbers(self) -> str:
        """(rows, F) float, NaN where missing."""
        return encode_numeric(self.graph, self.encoder.numeric)

    def codes(self) -> list[str]:
        """The codes (rows,) int64 of each categorical column."""
        return encode_categorical(self.graph, self.encoder.categorical)

    def code_matrix(self) -> str:
        """(rows, C) int64."""
        return as_matrix(self.graph, self.codes())


def column_types(encoder: Encoder) -> dict[str, int]:
    """The ONNX type of each raw column; missing is NaN in a double, and an empty string."""
    return {
        **dict.fromkeys(encoder.numeric, TensorProto.DOUBLE),
        **dict.fromkeys(encoder.categorical, TensorProto.STRING),
    }


def encode_numeric(graph: Graph, columns: Mapping[str, NumericMap]) -> str:
    """Raw double columns -> (rows, F) float, mapped as refit.data.encoder maps them, NaN kept."""
    maps = list(columns.values())
    raw = as_matrix(graph, list(columns))
    missing = graph.add("IsNaN", graph.add("Sub", raw, raw))  # NaN for an infinite value, too
    lowest, highest = (np.array([m.knots[end] for m in maps]) for end in (0, -1))
    inside = graph.add("Max", raw, graph.constant(lowest))
    inside = graph.add("Min", inside, graph.constant(highest))
    inside = graph.add("Where", missing, graph.constant(lowest), inside)
    index = onnx_search.intervals(graph, inside, [m.knots[1:-1] for m in maps])
    index = graph.cast(index, TensorProto.INT64)
    base, width, value, rise = (
        graph.add("Gather", graph.constant(np.concatenate(tables)), index)
        for tables in (
            [m.knots[:-1] for m in maps],
            [np.diff(m.knots) for m in maps],
            [m.values[:-1] for m in maps],
            [np.diff(m.values) for m in maps],
        )
    )
    share = graph.add("Div", graph.add("Sub", inside, base), width)
    risen = graph.add("Add", value, graph.add("Mul", share, rise))
    mapped = graph.cast(risen, TensorProto.FLOAT)
    nan = graph.constant(np.array(np.nan, np.float32))
    return graph.add("Where", missing, nan, mapped)


def encode_categorical(graph: Graph, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Raw string columns -> the codes (rows,) int64 of each."""
    return [
        graph.add(
            "LabelEncoder",
            name,
            domain="ai.onnx.ml",
            keys_strings=["", *words],
            values_int64s=[MISSING, *range(FIRST, FIRST + len(words))],
            default_int64=UNKNOWN,
        )
        for name, words in columns.items()
    ]


def as_matrix(graph: Graph, columns: Sequence[str]) -> str:
    """Columns (rows,) each -> (rows, columns), by three nodes for any number of columns."""
    joined = graph.add("Concat", *columns, axis=0)
    by_column = graph.add("Reshape", joined, graph.constant([len(columns), -1]))
    return graph.add("Transpose", by_column, perm=[1, 0])
