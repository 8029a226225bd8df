"""Scales: every value at its place, in order, and round marks."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from refit.review.estimate import Estimate
from refit.review.scales import Scale, decimals, scale

figures = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.tuples(figures, figures, figures)))
    return Estimate(value=value, lower=low, upper=high)


@given(st.lists(estimates(), min_size=1, max_size=8))
def test_every_value_is_drawn_in_order(values: list[Estimate]) -> None:
    """Values lie inside, smaller ones left of larger ones, and bounds around their value."""
    axis = scale(values, (0.0,))
    assert axis is not None
    for one in values:
        assert one.value is not None
        assert one.lower is not None
        assert one.upper is not None
        assert axis.low < one.value < axis.high
        assert 0 <= axis.at(one.lower) <= axis.at(one.value) <= axis.at(one.upper) <= 100
    assert axis.low < 0 < axis.high


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e6))
def test_marks_are_round_and_inside(low: float, width: float) -> None:
    """At most five steps of 1, 2 or 5 times a power of ten."""
    axis = Scale(low=low, high=low + width)
    marks = axis.marks()
    assert len(marks) <= 5
    assert all(axis.low - 1e-6 * width <= mark <= axis.high + 1e-6 * width for mark in marks)
    for left, right in itertools.pairwise(marks):
        step = (right - left) / 10 ** math.floor(math.log10(right - left) + 1e-6)
        assert min(abs(step - nice) for nice in (1, 2, 5, 10)) < 1e-3


def test_one_wide_interval_does_not_flatten_the_others() -> None:
    """The interval of a small slice is cut off; the scale suits the others."""
    narrow = [Estimate(value=v / 100, lower=v / 100 - 0.01, upper=v / 100 + 0.01) for v in range(9)]
    wide = Estimate(value=0.04, lower=-5.0, upper=5.0)
    axis = scale([*narrow, wide])
    assert axis is not None
    assert axis.high - axis.low < 0.3
    assert axis.at(-5.0) == 0
    assert axis.at(5.0) == 100


def test_nothing_has_no_scale() -> None:
    """Undefined figures are not drawn."""
    assert scale([Estimate(value=None)]) is None


def test_decimals_show_four_digits() -> None:
    """Four digits of the largest figure, and at most five decimals."""
    assert [decimals([v]) for v in (123.4, 12.3, 0.77, 0.0123, 0.00014, 0.0)] == [1, 2, 4, 5, 5, 2]
