"""The fitted encoder as ONNX nodes: raw columns -> the features that a model reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from refit.data.encoder import FIRST, MISSING, UNKNOWN, Encoder, NumericMap
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
        second = self.graph.constant([1])
        columns = [self.graph.add("Unsqueeze", codes, second) for codes in self.codes()]
        return self.graph.add("Concat", *columns, axis=1)


def column_types(encoder: Encoder) -> dict[str, int]:
    """The ONNX type of each raw column; missing is NaN in a double, and an empty string."""
    return {
        **dict.fromkeys(encoder.numeric, TensorProto.DOUBLE),
        **dict.fromkeys(encoder.categorical, TensorProto.STRING),
    }


def encode_numeric(graph: Graph, columns: Mapping[str, NumericMap]) -> str:
    """Raw double columns -> (rows, F) float, mapped as refit.data.encoder maps them, NaN kept."""
    ones = graph.constant([1])
    raw = graph.add("Concat", *(graph.add("Unsqueeze", n, ones) for n in columns), axis=1)
    knots, widths, values, rises = _padded(list(columns.values()))
    lowest, highest = knots[:, 0], np.array([m.knots[-1] for m in columns.values()])
    inside = graph.add("Max", raw, graph.constant(lowest))
    inside = graph.add("Min", inside, graph.constant(highest))
    infinite = graph.add("IsInf", graph.cast(raw, TensorProto.FLOAT))
    missing = graph.add("Or", graph.add("IsNaN", raw), infinite)
    inside = graph.add("Where", missing, graph.constant(lowest), inside)
    reached = graph.add(
        "GreaterOrEqual", graph.add("Unsqueeze", inside, graph.constant([2])), graph.constant(knots)
    )
    counted = graph.cast(reached, TensorProto.FLOAT)
    index = graph.add("ReduceSum", counted, graph.constant([2]), keepdims=0)
    index = graph.add("Sub", graph.cast(index, TensorProto.INT64), graph.constant([1]))
    last = np.array([len(m.knots) - 2 for m in columns.values()], np.int64)
    index = graph.add("Min", index, graph.constant(last))
    starts = np.arange(len(columns), dtype=np.int64) * knots.shape[1]
    index = graph.add("Add", index, graph.constant(starts))
    base, width, value, rise = (
        graph.add("Gather", graph.constant(table.ravel()), index)
        for table in (knots, widths, values, rises)
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


def _padded(
    maps: Sequence[NumericMap],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Knots, distances to the next knot, values and rises, each (F, K); knots padded with inf."""
    shape = len(maps), max(len(m.knots) for m in maps)
    knots, widths = np.full(shape, np.inf), np.ones(shape)
    values, rises = np.zeros(shape), np.zeros(shape)
    for row, fitted in enumerate(maps):
        count = len(fitted.knots)
        knots[row, :count], values[row, :count] = fitted.knots, fitted.values
        widths[row, : count - 1] = np.diff(fitted.knots)
        rises[row, : count - 1] = np.diff(fitted.values)
    return knots, widths, values, rises
