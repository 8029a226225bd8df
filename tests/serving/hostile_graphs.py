"""Hostile ONNX graphs of one signature, and a good one, built with onnx's own helpers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from refit.serving import bundle
from refit.serving.bundle import Bundle
from refit.serving.onnx_graph import IR_VERSION, OPSET

SIGNATURE: dict[str, Any] = {
    "task": "regression",
    "target": "y",
    "inputs": [
        {"name": "x", "type": "number", "lowest": 0.0, "highest": 1.0},
        {"name": "w", "type": "string", "known": ["a"]},
    ],
    "classes": [],
    "thresholds": {},
}
ROWS = pl.DataFrame({"x": np.linspace(0, 1, 20), "w": ["a"] * 20})
FLOAT = helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)
INPUTS = (
    helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["rows"]),
    helper.make_tensor_value_info("w", TensorProto.STRING, ["rows"]),
)
OUTPUT = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows"])


def node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    """A node; the inputs are words of one text."""
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def constant(name: str, values: Any) -> TensorProto:
    return numpy_helper.from_array(np.array(values), name)


def model(
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto] = (),
    *,
    inputs: Sequence[onnx.ValueInfoProto] = INPUTS,
    outputs: Sequence[onnx.ValueInfoProto] = (OUTPUT,),
) -> ModelProto:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(constants))
    return helper.make_model(graph, opset_imports=OPSET, ir_version=IR_VERSION)


def good() -> ModelProto:
    """The prediction is the number."""
    return model([node("Cast", "x", "prediction", to=TensorProto.FLOAT)])


def endless() -> ModelProto:
    """A loop whose condition is always true."""
    body = helper.make_graph(
        [node("Identity", "go", "on")],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    loop = helper.make_node("Loop", ["", "go_first", "f"], ["prediction"], body=body)
    body.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, None))
    body.output.append(helper.make_tensor_value_info("state_on", TensorProto.FLOAT, None))
    body.node.append(node("Identity", "state", "state_on"))
    loop.attribute[0].g.CopyFrom(body)
    return model([FLOAT, loop], [constant("go_first", True)])


def hours() -> ModelProto:
    """Two thousand products of matrices of 16 million numbers: no loop, and no end in sight."""
    products = [node("MatMul", f"b{i} b0", f"b{i + 1}") for i in range(2000)]
    ones = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    return model(
        [
            FLOAT,
            node("ConstantOfShape", "size", "b0", value=ones),
            *products,
            node("ReduceMax", "b2000", "largest", keepdims=0),
            node("Mul", "f largest", "prediction"),
        ],
        [constant("size", [4000, 4000])],
    )


def wide(numbers: int) -> ModelProto:
    """So many float32 for each row, added up."""
    return model(
        [
            FLOAT,
            node("Unsqueeze", "f one", "column"),
            node("Expand", "column size", "wide"),
            node("ReduceSum", "wide one", "prediction", keepdims=0),
        ],
        [constant("one", [1]), constant("size", [1, numbers])],
    )


def twice_the_rows() -> ModelProto:
    output = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["twice"])
    return model([FLOAT, node("Concat", "f f", "prediction", axis=0)], outputs=[output])


def raising() -> ModelProto:
    """A shape that only seven rows have."""
    return model([FLOAT, node("Reshape", "f size", "prediction")], [constant("size", [7])])


def not_a_graph_of_its_types() -> ModelProto:
    """It passes for a prediction of float32, and is one of float64."""
    return model([node("Identity", "x", "prediction")])


def save(folder: Path, made: ModelProto) -> Bundle:
    """The bundle of the graph, read back."""
    bundle.write(folder, made.SerializeToString(), SIGNATURE, {})
    return bundle.load(folder)
