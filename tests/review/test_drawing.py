"""Scales: every value in its place, in order, and round marks."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from refit.review.comparison import Estimate
from refit.review.scales import Scale, decimals, scale

figures = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.tuples(figures, figures, figures)))
    return Estimate(value=value, lower=low, upper=high)


@given(st.lists(estimates(), min_size=1, max_size=8))
def test_every_value_is_drawn_in_order(found: list[Estimate]) -> None:
    """Values lie inside, smaller ones left of larger ones, and bounds around their value."""
    made = scale(found, (0.0,))
    assert made is not None
    for one in found:
        assert one.value is not None
        assert one.lower is not None
        assert one.upper is not None
        assert made.low < one.value < made.high
        assert 0 <= made.at(one.lower) <= made.at(one.value) <= made.at(one.upper) <= 100
    assert made.low < 0 < made.high


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e6))
def test_marks_are_round_and_inside(low: float, width: float) -> None:
    """At most five steps of 1, 2 or 5 times a power of ten."""
    made = Scale(low=low, high=low + width)
    marks = made.marks()
    assert len(marks) <= 5
    assert all(made.low - 1e-6 * width <= mark <= made.high + 1e-6 * width for mark in marks)
    for left, right in itertools.pairwise(marks):
        step = (right - left) / 10 ** math.floor(math.log10(right - left) + 1e-6)
        assert min(abs(step - nice) for nice in (1, 2, 5, 10)) < 1e-3


def test_one_wide_interval_does_not_flatten_the_others() -> None:
    """A slice of five rows is drawn cut off; the scale stays with the rest."""
    narrow = [Estimate(value=v / 100, lower=v / 100 - 0.01, upper=v / 100 + 0.01) for v in range(9)]
    wide = Estimate(value=0.04, lower=-5.0, upper=5.0)
    made = scale([*narrow, wide])
    assert made is not None
    assert made.high - made.low < 0.3
    assert made.at(-5.0) == 0
    assert made.at(5.0) == 100


def test_nothing_has_no_scale() -> None:
    """Undefined figures are not drawn."""
    assert scale([Estimate(value=None)]) is None


def test_decimals_show_four_digits() -> None:
    """Of the largest figure, and at most five."""
    assert [decimals([v]) for v in (123.4, 12.3, 0.77, 0.0123, 0.00014, 0.0)] == [1, 2, 4, 5, 5, 2]
