"""What the graph of a bundle may hold: a list of operators, and nothing that is not on it.

The list has what the exporters of Refit write, and what a torch module traces to. Nothing on it
repeats or branches (Loop, If, Scan), draws random numbers, makes text or reads another file. So a
graph runs each of its nodes once, on the values that it was given. How much memory and time that
takes, only a trial tells (refit.serving.sandbox).

The models of ONNX: https://onnx.ai/onnx/repo-docs/IR.html
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, helper

from refit.core.errors import DataError
from refit.dataset import PREDICTION
from refit.serving.onnx_graph import IR_VERSION, OPSET

LISTED = 3
"""Problems that an error lists."""

ARITHMETIC = """
    Abs Acos Acosh Add Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh CumSum Div Elu Erf Exp Floor
    HardSigmoid HardSwish LeakyRelu Log LogSoftmax Max Mean Min Mish Mod Mul Neg PRelu Pow
    Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum
    Tan Tanh ThresholdedRelu
"""
LOGIC = """
    And BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Equal Greater GreaterOrEqual IsInf IsNaN Less
    LessOrEqual Not Or Where Xor
"""
SHAPES = """
    Cast Concat Constant ConstantOfShape DepthToSpace Dropout Expand EyeLike Flatten Gather
    GatherElements GatherND Identity NonZero OneHot Pad Range Reshape ScatterElements ScatterND
    Shape Size Slice SpaceToDepth Split Squeeze Tile TopK Transpose Trilu Unsqueeze
"""
SUMS = """
    ArgMax ArgMin Einsum Gemm MatMul ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""
LAYERS = """
    AveragePool BatchNormalization Conv ConvTranspose GRU GlobalAveragePool GlobalMaxPool
    GroupNormalization InstanceNormalization LSTM LayerNormalization LpNormalization
    LpPool MaxPool MeanVarianceNormalization RNN
"""
TREES = "ArrayFeatureExtractor LabelEncoder TreeEnsembleClassifier TreeEnsembleRegressor"

ALLOWED: Mapping[str, frozenset[str]] = {
    "": frozenset(f"{ARITHMETIC} {LOGIC} {SHAPES} {SUMS} {LAYERS}".split()),
    "ai.onnx.ml": frozenset(TREES.split()),
}
"""The operators by domain; '' is ONNX's own."""
TEXTS = frozenset({"keys_strings", "nodes_modes"})
"""Attributes that may hold several texts; any other one makes a graph that gives text."""
PLAIN = frozenset(
    {
        AttributeProto.FLOAT,
        AttributeProto.FLOATS,
        AttributeProto.INT,
        AttributeProto.INTS,
        AttributeProto.STRING,
        AttributeProto.STRINGS,
        AttributeProto.TENSOR,
    }
)
"""Kinds of attributes without graphs, sparse tensors and types in them."""
COLUMN_TYPES = {"number": TensorProto.DOUBLE, "string": TensorProto.STRING}


def read(path: Path) -> onnx.ModelProto:
    """The model in a file; nothing that it names outside of the file is read.

    Raises:
        DataError: the file is not an ONNX model.
    """
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise DataError("the model is no ONNX file", where=str(path), got=str(error)) from error
    return model


def require(model: onnx.ModelProto, signature: Mapping[str, Any], where: str) -> None:
    """Raise DataError if the model holds what a bundle may not, or is not of this signature."""
    problems = [*refused(model), *_not_of(signature, model.graph)]
    if problems:
        more = f", and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise DataError(
            "the model is not one that a bundle may hold",
            where=where,
            got="; ".join(problems[:LISTED]) + more,
            expected="a graph of known operators from the columns of the signature to one"
            f" `{PREDICTION}`",
            do="restore the bundle, or use another; docs/models.md says what a graph may hold",
        )


def refused(model: onnx.ModelProto) -> list[str]:
    """What a graph may not hold, a phrase each, the same phrase once."""
    return list(dict.fromkeys(_refused(model)))


def _refused(model: onnx.ModelProto) -> Iterator[str]:
    graph = model.graph
    known = {each.domain: each.version for each in OPSET}
    for each in model.opset_import:
        domain = _domain(each.domain)
        if not 1 <= each.version <= known.get(domain, 0):
            yield f"operator set {_word(each.domain or 'ai.onnx')} {each.version}"
    if model.ir_version > IR_VERSION:
        yield f"version {model.ir_version} of the format"
    if model.functions:
        yield "functions"
    if model.training_info:
        yield "training"
    if graph.sparse_initializer:
        yield "sparse tensors"
    if not graph.node:
        yield "no operator"
    for tensor in graph.initializer:
        yield from _of_tensor(tensor, "constant")
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: onnx.NodeProto) -> Iterator[str]:
    allowed = ALLOWED.get(_domain(node.domain), frozenset())
    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if node.op_type not in allowed:
        yield f"the operator {_word(name)}"
        return
    for each in node.attribute:
        if each.type not in PLAIN or each.ref_attr_name or each.HasField("g") or each.graphs:
            yield f"an attribute {_word(each.name)} of {node.op_type} that is no plain value"
        elif each.strings and each.name not in TEXTS:
            yield f"texts as {_word(each.name)} of {node.op_type}"
        elif each.type == AttributeProto.TENSOR:
            yield from _of_tensor(each.t, node.op_type)
        elif node.op_type == "Cast" and each.name == "to" and each.i == TensorProto.STRING:
            yield "numbers turned into text"


def _of_tensor(tensor: onnx.TensorProto, owner: str) -> Iterator[str]:
    """A constant lies in the model file, is of numbers, and has as many as its shape says."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        yield f"a {owner} in another file"
        return
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, TypeError):
        dtype = None
    if dtype is None or dtype.kind not in "biuf":
        yield f"a {owner} that is not of numbers"
        return
    count = math.prod(tensor.dims)
    stored = (
        len(tensor.raw_data) // dtype.itemsize
        if tensor.HasField("raw_data")
        else max(len(tensor.float_data), len(tensor.int32_data), len(tensor.int64_data))
        or max(len(tensor.double_data), len(tensor.uint64_data))
    )
    if min(tensor.dims, default=0) < 0 or count != stored:
        yield f"a {owner} of {count:,} numbers that has {stored:,}"


def _not_of(signature: Mapping[str, Any], graph: onnx.GraphProto) -> Iterator[str]:
    """How the inputs and the output differ from those of the signature."""
    constants = {each.name for each in graph.initializer}
    inputs = {each.name: each.type.tensor_type for each in graph.input}
    expected = {each["name"]: COLUMN_TYPES[each["type"]] for each in signature["inputs"]}
    yield from (f"no input {_word(name)}" for name in sorted(expected.keys() - inputs.keys()))
    yield from (
        f"an unknown input {_word(name)}" for name in sorted(inputs.keys() - expected.keys())
    )
    for name in sorted(expected.keys() & inputs.keys()):
        kind = inputs[name]
        if kind.elem_type != expected[name] or len(kind.shape.dim) != 1 or name in constants:
            yield f"an input {_word(name)} that is no column of its type"
    if [each.name for each in graph.output] != [PREDICTION]:
        names = (_word(each.name) for each in graph.output[:LISTED])
        yield f"{len(graph.output)} outputs ({', '.join(names)})"
        return
    output, classes = graph.output[0].type.tensor_type, len(signature["classes"])
    columns = [each.dim_value for each in output.shape.dim[1:]]
    if output.elem_type != TensorProto.FLOAT:
        yield f"a prediction of type {_type(output.elem_type)}"
    elif not output.shape.dim or columns != ([classes] if classes else []):
        yield f"a prediction of shape {_shape(output)}"


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _type(number: int) -> str:
    known: Iterable[tuple[str, int]] = TensorProto.DataType.items()
    return next((name for name, value in known if value == number), str(number))


def _shape(kind: onnx.TypeProto.Tensor) -> str:
    sizes = (each.dim_param or str(each.dim_value) for each in kind.shape.dim)
    return f"({', '.join(_word(size) for size in sizes)})"


def _word(text: str) -> str:
    """A name from a foreign file, cut where it is long, its control characters escaped."""
    return repr(text[:60])[1:-1]
