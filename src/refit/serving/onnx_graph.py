"""The ONNX graph of encoder and network, node by node.

Written by hand rather than exported: the graph takes the raw columns, strings included, which no
tracer sees; its bytes depend on the weights alone; and it is small. Given up: another architecture
than refit.models.network's needs its nodes written here.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from refit.data.encoder import FIRST, MISSING, UNKNOWN, Encoder, NumericMap
from refit.dataset import Task

OPSET = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 9


class Graph:
    """Collects nodes and constants; every call returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """One node with one output."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [name], name=name, domain=domain, **attributes)
        )
        return name

    def constant(self, array: np.ndarray | Sequence[int]) -> str:
        """A constant; a plain sequence becomes int64."""
        values = array if isinstance(array, np.ndarray) else np.array(array, np.int64)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def cast(self, value: str, to: int) -> str:
        """The value in another element type."""
        return self.add("Cast", value, to=to)

    def model(
        self, inputs: Mapping[str, int], output: tuple[str, Sequence[str | int]]
    ) -> onnx.ModelProto:
        """The finished model; inputs are name -> element type, each a column (rows,)."""
        name, shape = output
        named = helper.make_node("Identity", [name], ["prediction"], name="prediction")
        graph = helper.make_graph(
            [*self.nodes, named],
            "refit",
            [helper.make_tensor_value_info(n, kind, ["rows"]) for n, kind in inputs.items()],
            [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, list(shape))],
            self.constants,
        )
        model = helper.make_model(
            graph, opset_imports=OPSET, ir_version=IR_VERSION, producer_name="refit"
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def column_types(encoder: Encoder) -> dict[str, int]:
    """The element type of each raw column: double, with NaN for missing; or string, ''."""
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


def finish(graph: Graph, task: Task, logits: str) -> str:
    """Outputs of the network -> probabilities (rows,) or (rows, K), or values (rows,)."""
    if task == "multiclass":
        return graph.add("Softmax", logits, axis=1)
    flat = graph.add("Squeeze", logits, graph.constant([1]))
    return graph.add("Sigmoid", flat) if task == "binary" else flat


def _padded(
    maps: Sequence[NumericMap],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Knots, distances to the next knot, values and their rises, each (F, K); knots to infinity."""
    shape = len(maps), max(len(m.knots) for m in maps)
    knots, widths = np.full(shape, np.inf), np.ones(shape)
    values, rises = np.zeros(shape), np.zeros(shape)
    for row, fitted in enumerate(maps):
        count = len(fitted.knots)
        knots[row, :count], values[row, :count] = fitted.knots, fitted.values
        widths[row, : count - 1] = np.diff(fitted.knots)
        rises[row, : count - 1] = np.diff(fitted.values)
    return knots, widths, values, rises
