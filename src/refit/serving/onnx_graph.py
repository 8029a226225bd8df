"""Builds an ONNX graph node by node, or from the graphs of other exporters.

The encoder takes raw columns with strings, which torch's tracer cannot follow. Names are numbered,
so the bytes depend on nodes and constants alone.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from refit.core.errors import ConfigError
from refit.dataset import PREDICTION

OPSET = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 9


class Graph:
    """Collects nodes and constants; each method returns the name of the value that it added."""

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

    def to_float(self, value: str) -> str:
        """The value as float32."""
        return self.cast(value, TensorProto.FLOAT)

    def embed(self, model: onnx.ModelProto, inputs: Mapping[str, str]) -> list[str]:
        """Add the nodes of another model, whose inputs take values of this graph.

        Args:
            model: without functions and external data; of these operator sets or of older ones
                whose operators mean the same here, which the caller has to prove.
            inputs: name of each of its inputs -> value of this graph.

        Returns:
            The names of its outputs here.

        Raises:
            ValueError: the model needs a newer or an unknown operator set.
        """
        versions = {each.domain: each.version for each in OPSET}
        for each in model.opset_import:
            if each.version > versions.get(each.domain, 0):
                raise ValueError(f"operator set {each.domain or 'ai.onnx'} {each.version}")
        prefix = f"embedded_{len(self.nodes)}_"
        names = dict(inputs)

        def renamed(name: str) -> str:
            return names.get(name, f"{prefix}{name}") if name else name

        for tensor in model.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = renamed(tensor.name)
            self.constants.append(copy)
        for number, node in enumerate(model.graph.node):
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.name = f"{prefix}{number}_{node.op_type}"
            copied.ClearField("doc_string")
            copied.ClearField("metadata_props")
            copied.input[:] = [renamed(name) for name in node.input]
            copied.output[:] = [renamed(name) for name in node.output]
            self.nodes.append(copied)
        return [renamed(output.name) for output in model.graph.output]

    def model(
        self, inputs: Mapping[str, int], output: tuple[str, Sequence[str | int]]
    ) -> onnx.ModelProto:
        """The complete model.

        Args:
            inputs: ONNX type of each input, by name; each is a column (rows,).
            output: name of the prediction, and its shape.

        Raises:
            ConfigError: a column has the name of a value inside the graph.
        """
        name, shape = output
        self._require_other_names(inputs)
        named = helper.make_node("Identity", [name], [PREDICTION], name=PREDICTION)
        graph = helper.make_graph(
            [*self.nodes, named],
            "refit",
            [helper.make_tensor_value_info(n, kind, ["rows"]) for n, kind in inputs.items()],
            [helper.make_tensor_value_info(PREDICTION, TensorProto.FLOAT, list(shape))],
            self.constants,
        )
        model = helper.make_model(
            graph, opset_imports=OPSET, ir_version=IR_VERSION, producer_name="refit"
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _require_other_names(self, inputs: Iterable[str]) -> None:
        values = {name for node in self.nodes for name in node.output}
        taken = sorted({PREDICTION, *values, *(each.name for each in self.constants)} & {*inputs})
        if taken:
            raise ConfigError(
                "a feature has the name of a value inside the bundle's graph",
                where="ROLES, numeric and categorical",
                got=", ".join(taken),
                do="rename the column in the dataset's `build` and ROLES",
            )
