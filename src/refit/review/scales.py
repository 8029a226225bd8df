"""Intervals as drawings in the cells of a table: positions in percent of the cell's width."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from refit.review.estimate import Estimate

ROOM = 0.06
"""Share of the width that is left empty at each end."""
CUT = 0.5
"""An interval is cut off where it reaches further than this share of the range of all values."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A range of values that is drawn from left to right."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Percent from the left, limited to 0 to 100."""
        share = (value - self.low) / (self.high - self.low)
        return round(min(max(share * 100, 0.0), 100.0), 2)

    def marks(self, most: int = 4) -> tuple[float, ...]:
        """Round values along the scale, at most `most`."""
        step = _step((self.high - self.low) / most)
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return tuple(round(k * step, 12) for k in range(first, last + 1))


def scale(estimates: Iterable[Estimate], more: Sequence[float | None] = ()) -> Scale | None:
    """The scale that shows all estimates and the values `more`; None without any value.

    Very wide intervals are cut off; otherwise the others would be too short to see.
    """
    listed = list(estimates)
    values = [e.value for e in listed if e.value is not None]
    values += [value for value in more if value is not None]
    ends = [end for e in listed for end in (e.lower, e.upper) if end is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    widths = sorted(
        e.upper - e.lower for e in listed if e.upper is not None and e.lower is not None
    )
    reach = max((high - low) * CUT, widths[len(widths) // 2] if widths else 0.0)
    low = max(min([low, *ends]), low - reach)
    high = min(max([high, *ends]), high + reach)
    room = (high - low) * ROOM or abs(high) * ROOM or 1.0
    return Scale(low=low - room, high=high + room)


def decimals(values: Iterable[float | None], most: int = 5) -> int:
    """Decimals that show about four digits of the largest value."""
    largest = max((abs(v) for v in values if v is not None), default=0.0)
    if largest == 0:
        return 2
    return min(max(3 - math.floor(math.log10(largest)), 0), most)


def _step(rough: float) -> float:
    """The nearest step of 1, 2 or 5 times a power of ten, not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
