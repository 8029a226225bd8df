"""The inputs of a bundle's graph: a few rows are read like many."""

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from refit.serving import bundle

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
    st.integers(0, bundle.FEW).flatmap(lambda n: st.tuples(columns(NUMBERS, n), columns(TEXTS, n)))
)
def test_a_few_rows_are_read_like_many(made: tuple[pl.Series, pl.Series]) -> None:
    """Row by row and column by column give the same arrays, to the bit."""
    number, text = made
    frame = pl.DataFrame({"number": number, "text": text, "other": text})
    inputs = [{"name": "text", "type": "string"}, {"name": "number", "type": "number"}]
    few = bundle._feeds(frame, inputs)
    assert list(few) == ["text", "number"]
    for entry in inputs:
        expected = bundle._feed(frame[entry["name"]], entry)
        got = few[entry["name"]]
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        if entry["type"] == "number":
            assert got.tobytes() == expected.tobytes()
        else:
            assert got.tolist() == expected.tolist()


def test_a_moment_is_read_by_its_column() -> None:
    """Where Python's value is no number, the column is cast."""
    frame = pl.DataFrame({"at": pl.Series([1, 2]).cast(pl.Datetime("us"))})
    feeds = bundle._feeds(frame, [{"name": "at", "type": "number"}])
    assert np.array_equal(feeds["at"], [1.0, 2.0])
