"""The encoder: fitted on the training rows only, defined for every value that may come later."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from scipy import stats

from refit.core.errors import ConfigError, DataError
from refit.data.encoder import Encoder, fit_encoder
from refit.dataset import Roles
from refit.promotion.gates.slices import split
from refit.serving.onnx_graph import Graph
from refit.tasks import catalog

ROLES = Roles(
    task="binary",
    key=("id",),
    time="id",
    target="y",
    numeric=("x",),
    categorical=("c",),
)


def table(x: list[float | None], c: list[str | None] | None = None) -> pl.DataFrame:
    """Examples with numbers x, categories c and an alternating target."""
    rows = len(x)
    return pl.DataFrame(
        {
            "id": range(rows),
            "x": pl.Series(x, dtype=pl.Float64),
            "c": pl.Series(c or ["a", "b"] * (rows // 2) + ["a"] * (rows % 2), dtype=pl.String),
            "y": [0, 1] * (rows // 2) + [0] * (rows % 2),
        }
    )


def fit(train: pl.DataFrame, quantiles: int = 201, min_count: int = 1) -> Encoder:
    """An encoder of ROLES."""
    return fit_encoder(train, ROLES, quantiles=quantiles, min_count=min_count)


def test_maps_to_a_normal_distribution() -> None:
    """A skewed column becomes approximately standard normal."""
    x = np.random.default_rng(0).exponential(size=4000)
    mapped = fit(table(x.tolist())).encode_numeric(table(x.tolist()))[:, 0]
    assert stats.kstest(mapped, "norm").statistic < 0.02


def test_beyond_the_range_missing_and_unknown() -> None:
    """Values outside the range are clipped, null and infinity are missing, new categories are 0."""
    encoder = fit(table([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", None]), min_count=1)
    later = table([-1e300, 1e300, None, np.inf, 1.0], ["b", "z", None, "", "a"])
    numeric = encoder.encode_numeric(later)[:, 0]
    edges = encoder.encode_numeric(table([1.0, 4.0], ["a", "b"]))[:, 0]
    assert numeric[:2].tolist() == edges.tolist()
    assert np.isnan(numeric[2:4]).all()
    assert encoder.encode_categorical(later)[:, 0].tolist() == [3, 0, 1, 1, 2]


def test_rare_categories_are_unknown() -> None:
    """A category with fewer training rows than min_count gets no code."""
    encoder = fit(table([1.0, 2.0, 3.0], ["a", "a", "b"]), min_count=2)
    assert encoder.categorical["c"] == ("a",)
    assert encoder.cardinalities == (3,)


def test_survives_json() -> None:
    """An encoder read back from its JSON encodes to the same bytes."""
    train = table([0.1, 0.2, 0.7, 1e9, -3.5])
    encoder = fit(train)
    again = Encoder.from_json(encoder.to_json())
    assert again.encode_numeric(train).tobytes() == encoder.encode_numeric(train).tobytes()
    assert again.to_json() == encoder.to_json()


@pytest.mark.parametrize(
    ("train", "named"),
    [
        (table([1.0, 1.0, None]), r"x \(always 1.0\)"),
        (table([None, None, None]), r"x \(all null\)"),
        (table([1.0, 2.0], ["a", "a"]), r"c \(always 'a'\)"),
        (table([1.0, 2.0, 3.0]).with_columns(y=pl.lit(1)), r"y \(always 1\)"),
    ],
)
def test_columns_without_variety_are_refused(train: pl.DataFrame, named: str) -> None:
    """A constant or all-null column, and a single-class target, are named."""
    with pytest.raises(DataError, match=named):
        fit(train)


def test_classes() -> None:
    """Classes are numbered in alphabetical order; a class not in the training rows is refused."""
    task = catalog.find("multiclass")
    classes = task.classes(pl.Series("t", ["y", "x", "y"]))
    assert classes == ("x", "y")
    assert task.encode(pl.Series("t", ["y", "x"]), classes).tolist() == [1, 0]
    with pytest.raises(DataError, match="Got z"):
        task.encode(pl.Series("t", ["y", "z"]), classes)


@given(
    st.lists(st.floats(-1e12, 1e12), min_size=2, unique=True),
    st.lists(st.floats(allow_nan=False), min_size=2),
)
def test_the_map_is_monotone(train: list[float], later: list[float]) -> None:
    """A larger value is never mapped to a smaller one, and every mapped value is finite."""
    encoder = fit(table(train, [str(i % 2) for i in range(len(train))]))
    finite = sorted(v for v in later if np.isfinite(v))
    mapped = encoder.encode_numeric(table(finite))[:, 0] if finite else np.zeros(1)
    assert np.isfinite(mapped).all()
    assert (np.diff(mapped) >= 0).all()


@pytest.mark.parametrize("name", ["count", "value", "len"])
def test_a_feature_may_be_called_count(name: str) -> None:
    """Counting the categories does not collide with the column's own name."""
    train = pl.DataFrame({"x": [1.0, 2.0, 3.0], name: ["a", "b", "a"], "y": [0, 1, 0]})
    roles = Roles(
        task="binary", key=("x",), time="x", target="y", numeric=("x",), categorical=(name,)
    )
    assert fit_encoder(train, roles, quantiles=5, min_count=2).categorical == {name: ("a",)}


@pytest.mark.parametrize("name", ["prediction", "constant_0", "Add_0"])
def test_a_feature_named_like_a_value_of_the_graph_is_refused(name: str) -> None:
    """An input of the bundle cannot have the name of a value inside its graph."""
    graph = Graph()
    added = graph.add("Add", graph.constant([1]), graph.constant([2]))
    with pytest.raises(ConfigError, match=rf"a feature has the name .*Got {name}"):
        graph.model({name: TensorProto.DOUBLE}, (added, ["rows"]))


def test_a_slice_may_be_called_count() -> None:
    """The slices of a column named `count` are counted like those of any other."""
    values = pl.Series("count", ["a", "b"] * 50)
    found = split(values, np.repeat(np.arange(10), 10), 10)
    assert [each.name for each in found] == ["count=a", "count=b"]
