"""What a graph may hold is a list, and everything else is refused without being run."""

import re
from collections.abc import Callable
from pathlib import Path

import hostile_graphs as graphs
import numpy as np
import onnx
import pytest
from hostile_graphs import FLOAT, INPUTS, OUTPUT, constant, model, node
from onnx import ModelProto, TensorProto, helper

from refit.core.errors import DataError
from refit.serving import operators
from refit.serving.onnx_graph import OPSET


def branch() -> ModelProto:
    part = helper.make_graph([node("Identity", "f", "out")], "part", [], [OUTPUT])
    return model([FLOAT, node("If", "c", "prediction", then_branch=part, else_branch=part)])


def scan() -> ModelProto:
    part = helper.make_graph([node("Identity", "a", "b")], "part", [], [])
    return model([FLOAT, node("Scan", "f", "prediction", body=part, num_scan_inputs=1)])


def hidden_graph() -> ModelProto:
    """A subgraph as an attribute that the operator does not have."""
    part = helper.make_graph([node("Identity", "a", "b")], "part", [], [])
    return model([node("Cast", "x", "prediction", to=1, extra=part)])


def function() -> ModelProto:
    made = model([node("Mine", "x", "prediction", domain="evil")])
    made.functions.append(
        helper.make_function("evil", "Mine", ["x"], ["y"], [node("Cast", "x", "y", to=1)], OPSET)
    )
    return made


def function_of_a_known_name() -> ModelProto:
    """A function that replaces an operator of the list."""
    made = graphs.good()
    made.functions.append(helper.make_function("", "Cast", ["x"], ["y"], [], OPSET))
    return made


def external() -> ModelProto:
    made = model([FLOAT, node("Add", "f secret", "prediction")], [constant("secret", [1.0])])
    tensor = made.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return made


def hollow() -> ModelProto:
    """A constant of 4 TB in a file of some bytes."""
    empty = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[10**12])
    return model([FLOAT, node("Add", "f c", "prediction")], [empty])


def hollow_attribute() -> ModelProto:
    empty = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[2**40, 2**40])
    return model([FLOAT, node("Constant", "", "c", value=empty), node("Add", "f c", "prediction")])


def sparse() -> ModelProto:
    made = graphs.good()
    made.graph.sparse_initializer.add()
    return made


def training() -> ModelProto:
    made = graphs.good()
    made.training_info.add()
    return made


def newer() -> ModelProto:
    made = graphs.good()
    made.opset_import[0].version += 1
    return made


def newer_format() -> ModelProto:
    made = graphs.good()
    made.ir_version += 1
    return made


def output(kind: int, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("prediction", kind, list(shape))


def text_constant() -> ModelProto:
    words = helper.make_tensor("words", TensorProto.STRING, [1], [b"word"])
    return model([FLOAT, node("Identity", "words", "prediction")], [words])


def text_of_codes() -> ModelProto:
    encoder = node(
        "LabelEncoder",
        "w",
        "prediction",
        domain="ai.onnx.ml",
        keys_strings=["a"],
        values_strings=["b"],
    )
    return model([encoder])


REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "an endless loop": (graphs.endless, "the operator Loop"),
    "a branch": (branch, "the operator If"),
    "a scan": (scan, "the operator Scan"),
    "a graph in an attribute": (hidden_graph, "attribute extra of Cast that is no plain value"),
    "chance": (lambda: model([node("RandomNormal", "", "prediction", shape=[3])]), "RandomNormal"),
    "another domain": (
        lambda: model([node("Gelu", "x", "prediction", domain="com.microsoft")]),
        "the operator com.microsoft.Gelu",
    ),
    "a function": (function, "functions; the operator evil.Mine"),
    "a function of a known name": (function_of_a_known_name, "functions"),
    "a constant in another file": (external, "a constant in another file"),
    "a constant of 4 TB": (hollow, "1,000,000,000,000 numbers that has 0"),
    "an attribute without end": (hollow_attribute, "a Constant of 1,2"),
    "sparse tensors": (sparse, "sparse tensors"),
    "training": (training, "training"),
    "a newer operator set": (newer, "operator set ai.onnx 19"),
    "a newer format": (newer_format, "version 10 of the format"),
    "no operator": (lambda: model([]), "no operator"),
    "a sequence": (
        lambda: model([node("SequenceConstruct", "f f", "prediction")]),
        "the operator SequenceConstruct",
    ),
    "numbers as text": (
        lambda: model([node("Cast", "x", "prediction", to=TensorProto.STRING)]),
        "numbers turned into text",
    ),
    "a text as constant": (text_constant, "a constant that is not of numbers"),
    "words for words": (text_of_codes, "texts as values_strings of LabelEncoder"),
    "strings out": (
        lambda: model(
            [node("Identity", "w", "prediction")], outputs=[output(TensorProto.STRING, "rows")]
        ),
        "a prediction of type STRING",
    ),
    "whole numbers out": (
        lambda: model(
            [node("Cast", "x", "prediction", to=7)], outputs=[output(TensorProto.INT64, "rows")]
        ),
        "a prediction of type INT64",
    ),
    "a table out": (
        lambda: model([FLOAT], outputs=[output(TensorProto.FLOAT, "rows", 3)]),
        r"a prediction of shape \(rows, 3\)",
    ),
    "another output": (lambda: model([FLOAT], outputs=[OUTPUT, OUTPUT]), "2 outputs"),
    "an input too few": (lambda: model([FLOAT], inputs=INPUTS[:1]), "no input w"),
    "an input too many": (
        lambda: model(
            [FLOAT],
            inputs=[*INPUTS, helper.make_tensor_value_info("z", TensorProto.FLOAT, ["rows"])],
        ),
        "an unknown input z",
    ),
    "an input of another type": (
        lambda: model(
            [FLOAT],
            inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows"]), INPUTS[1]],
        ),
        "an input x that is no column of its type",
    ),
    "an input with a constant of its own": (
        lambda: model([FLOAT], [constant("x", np.zeros(3))]),
        "an input x that is no column",
    ),
    "a name with a terminal escape": (
        lambda: model([node("\x1b[2J", "x", "prediction")]),
        r"the operator \\x1b\[2J",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_on_the_list_is_refused(name: str, tmp_path: Path) -> None:
    """Each graph ends in one error that names what it holds, read from its file."""
    make, message = REFUSED[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(DataError, match=message):
        operators.require(operators.read(path), graphs.SIGNATURE, str(path))


def test_a_good_graph_passes() -> None:
    """Nothing is said about a graph of the list that is of the signature."""
    operators.require(graphs.good(), graphs.SIGNATURE, "here")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\x80\x04K\x01.", b"ORTM" * 9])
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """An empty file, zeros, a pickle and another format have one error."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not one that a bundle may hold|no ONNX file"):
        operators.require(operators.read(path), graphs.SIGNATURE, str(path))


def test_the_documentation_lists_every_operator() -> None:
    """docs/models.md names the operators of the list, and no other."""
    text = (Path(__file__).resolve().parents[2] / "docs/models.md").read_text(encoding="utf-8")
    listed = text.split("## What a graph may hold")[1].split("Nothing among them")[0]
    names = set(re.findall(r"`(\w+)`", listed))
    assert names == set().union(*operators.ALLOWED.values())
