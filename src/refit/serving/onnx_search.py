"""Finds the interval of each value between a column's knots, as one ONNX node.

A tree ensemble has a tree for each column, which bisects the column's knots. That is eight
comparisons a value with 201 knots, and one node, where a comparison with every knot is 201 and six.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from refit.serving.onnx_graph import Graph

BRANCH, LEAF = "BRANCH_GTE", "LEAF"


def intervals(graph: Graph, values: str, inner_knots: Sequence[np.ndarray]) -> str:
    """The number of each value's interval, counted through the columns: (rows, F) float.

    Args:
        graph: gets the node.
        values: (rows, F) double, without NaN.
        inner_knots: of each column, what separates its intervals, increasing; K knots make K + 1
            intervals. A value on a knot belongs to the interval above.
    """
    trees, first = _Trees(), 0
    for column, knots in enumerate(inner_knots):
        trees.add(column, knots, first)
        first += len(knots) + 1
    attributes = trees.attributes(len(inner_knots))
    return graph.add("TreeEnsembleRegressor", values, domain="ai.onnx.ml", **attributes)


@dataclass(kw_only=True)
class _Trees:
    """The nodes of all trees, and what the leaves give."""

    features: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    leaf_features: list[int] = field(default_factory=list)
    leaf_nodes: list[int] = field(default_factory=list)
    leaf_values: list[int] = field(default_factory=list)

    def add(self, feature: int, knots: np.ndarray, first: int) -> None:
        """The tree of one column, whose lowest interval has the number `first`."""
        root = len(self.nodes)

        def grow(low: int, high: int) -> int:
            """Append the nodes that separate intervals low to high; returns the top one's id."""
            node = len(self.nodes)
            middle = (low + high) // 2
            is_leaf = low == high
            self.features.append(feature)
            self.nodes.append(node - root)
            self.modes.append(LEAF if is_leaf else BRANCH)
            self.thresholds.append(0.0 if is_leaf else float(knots[middle]))
            self.above.append(0)
            self.below.append(0)
            if is_leaf:
                self.leaf_features.append(feature)
                self.leaf_nodes.append(node - root)
                self.leaf_values.append(first + low)
            else:
                self.below[node] = grow(low, middle)
                self.above[node] = grow(middle + 1, high)
            return node - root

        grow(0, len(knots))

    def attributes(self, targets: int) -> dict[str, Any]:
        """The attributes of the ONNX node; tree, feature and target have one number."""
        return {
            "n_targets": targets,
            "nodes_treeids": self.features,
            "nodes_nodeids": self.nodes,
            "nodes_featureids": self.features,
            "nodes_modes": self.modes,
            "nodes_values_as_tensor": _doubles("thresholds", self.thresholds),
            "nodes_truenodeids": self.above,
            "nodes_falsenodeids": self.below,
            "target_treeids": self.leaf_features,
            "target_nodeids": self.leaf_nodes,
            "target_ids": self.leaf_features,
            "target_weights_as_tensor": _doubles("intervals", self.leaf_values),
        }


def _doubles(name: str, values: Sequence[float]) -> TensorProto:
    return helper.make_tensor(name, TensorProto.DOUBLE, [len(values)], values)
