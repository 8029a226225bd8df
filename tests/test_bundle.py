"""The inputs of a bundle's graph: a few rows are read like many."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from refit.core.errors import DataError
from refit.serving import bundle
from refit.serving.onnx_graph import Graph

NUMBERS = {
    pl.Float64: st.floats(),
    pl.Float32: st.floats(width=32),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.UInt64: st.integers(0, 2**64 - 1),
    pl.Boolean: st.booleans(),
    pl.Null: st.none(),
}
TEXTS = {pl.String: st.text(), pl.Null: st.none()}


def columns(kinds: dict[Any, Any], rows: int) -> st.SearchStrategy[pl.Series]:
    """Columns of so many values, nulls among them."""
    return st.sampled_from(list(kinds)).flatmap(
        lambda dtype: st.lists(st.none() | kinds[dtype], min_size=rows, max_size=rows).map(
            lambda values: pl.Series(values, dtype=dtype)
        )
    )


@given(
    st.integers(1, bundle.FEW).flatmap(lambda n: st.tuples(columns(NUMBERS, n), columns(TEXTS, n)))
)
def test_a_few_rows_are_read_like_many(made: tuple[pl.Series, pl.Series]) -> None:
    """Row by row and column by column give the same arrays, to the bit."""
    number, text = made
    frame = pl.DataFrame({"number": number, "text": text, "other": text})
    inputs = [{"name": "text", "type": "string"}, {"name": "number", "type": "number"}]
    few = reader(*inputs)._few_feeds(frame)
    assert few is not None
    assert few.keys() == {"text", "number"}
    for entry in inputs:
        expected = bundle._feed(frame[entry["name"]], entry)
        got = few[entry["name"]]
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        if entry["type"] == "number":
            assert got.tobytes() == expected.tobytes()
        else:
            assert got.tolist() == expected.tolist()


def reader(*inputs: dict[str, str]) -> bundle.Bundle:
    return bundle.Bundle(folder=Path(), signature={"inputs": list(inputs)})


def exported(folder: Path) -> bundle.Bundle:
    """A model that gives back its number, and takes a word."""
    graph = Graph()
    number = graph.cast("x", TensorProto.FLOAT)
    known = graph.add(
        "LabelEncoder", "word", domain="ai.onnx.ml", keys_strings=["b"], values_floats=[1.0]
    )
    types = {"x": int(TensorProto.DOUBLE), "word": int(TensorProto.STRING)}
    model = graph.model(types, (graph.add("Add", number, known), ["rows"]))
    inputs = [{"name": "x", "type": "number"}, {"name": "word", "type": "string"}]
    signature = {"inputs": inputs, "classes": []}
    bundle.write(folder, model.SerializeToString(), signature, {})
    return bundle.Bundle(folder=folder, signature=signature)


@pytest.mark.parametrize("value", [date(2013, 1, 1), "1.5", np.float32(2), [1.0], 10**400])
def test_other_values_are_left_to_the_column(value: object) -> None:
    """What is no plain number is not read as one by the fast way."""
    assert reader({"name": "at", "type": "number"})._few_feeds({"at": value}) is None


def test_a_mapping_is_one_row(tmp_path: Path) -> None:
    """A mapping is predicted as the frame of its row, and its errors name what is wrong."""
    model = exported(tmp_path)
    row = {"x": 0.25, "word": "b", "spare": object()}
    frame = pl.DataFrame({"x": [0.25], "word": ["b"]})
    assert model.predict(row).tolist() == model.predict(frame).tolist()
    assert model.predict({"x": None, "word": None}).shape == (1,)
    assert model.predict(frame.head(0)).shape == (0,)
    with pytest.raises(DataError, match="column word is missing"):
        model.predict({"x": 1.0})
    with pytest.raises(DataError, match="column x is String, expected number"):
        model.predict({"x": "1", "word": "b"})
    with pytest.raises(DataError, match="neither a number nor a text"):
        model.predict({"x": 10**400, "word": "b"})
