"""The encoder's graph maps numbers as the encoder does, to the bit."""

import numpy as np
import onnxruntime
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from refit.data.encoder import NumericMap
from refit.serving.onnx_encoder import encode_numeric
from refit.serving.onnx_graph import Graph

finite = st.floats(-1e300, 1e300)


@st.composite
def maps(draw: st.DrawFn) -> NumericMap:
    """Two to forty knots."""
    knots = draw(st.lists(finite, min_size=2, max_size=40, unique=True).map(sorted))
    return NumericMap(knots=np.array(knots), values=np.linspace(-3.1, 3.1, len(knots)))


def session(columns: dict[str, NumericMap]) -> onnxruntime.InferenceSession:
    graph = Graph()
    mapped = encode_numeric(graph, columns)
    types = dict.fromkeys(columns, int(TensorProto.DOUBLE))
    model = graph.model(types, (mapped, ["rows", len(columns)]))
    return onnxruntime.InferenceSession(model.SerializeToString())


@given(maps(), maps(), st.lists(st.floats(), max_size=20))
def test_the_graph_equals_the_encoder(
    first: NumericMap, second: NumericMap, values: list[float]
) -> None:
    """On knots, between and beyond them; NaN and infinite values are missing; with no row, too."""
    rows = np.array([*values, *first.knots, *np.nextafter(first.knots, -np.inf)])
    rows = rows if values else rows[:0]
    got = session({"a": first, "b": second}).run(None, {"a": rows, "b": rows[::-1].copy()})[0]
    missing = np.where(np.isfinite(rows), rows, np.nan)
    with np.errstate(all="ignore"):
        expected = np.column_stack([first(missing), second(missing[::-1])])
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()
