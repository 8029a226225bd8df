"""Figures and names as people read them; the same in page, text and card."""

from collections.abc import Collection, Iterable

from refit.review.comparison import Estimate
from refit.review.scales import decimals

MINUS = "\N{MINUS SIGN}"
OUTCOMES = {"promote": "Promoted", "reject": "Rejected", "not proven": "Not proven"}
MARKS = {"pass": "✓", "fail": "✗", "not enough evidence": "?"}
"""A sign for each result, so that nothing is told by colour alone."""
OUTCOME_MARKS = {"promote": "✓", "reject": "✗", "not proven": "?"}
GROUPS = {
    "improvement": "Improvement",
    "baseline": "Better than a simple model",
    "calibration": "Calibration",
    "slice": "No slice is worse off",
    "group": "Groups are served about equally well",
    "holdout": "The holdout",
    "model": "The model itself",
    "budget": "Latency and size",
}
"""Headings of the gates' groups; any other is called by its own name."""
NOTHING = "n/a"
TINY = 1e-4
"""Below it, figures are told by significant digits."""


def number(value: float | None, places: int | None, *, signed: bool = False) -> str:
    """A figure with a true minus sign and thousands parted.

    Args:
        value: None where it is not defined.
        places: decimals; None for three significant digits.
        signed: with a plus sign too.
    """
    if value is None:
        return NOTHING
    kind = ".3g" if places is None else f",.{places}f"
    return f"{value:{'+' if signed else ''}{kind}}".replace("-", MINUS)


def interval(found: Estimate, places: int | None, *, signed: bool = False) -> str:
    """`0.4705 [0.4407, 0.4962]`; without bounds only the figure."""
    value = number(found.value, places, signed=signed)
    bounds = bracket(found, places, signed=signed)
    return f"{value} {bounds}" if bounds else value


def bracket(found: Estimate, places: int | None, *, signed: bool = False) -> str:
    """`[0.4407, 0.4962]`, empty where there are no bounds."""
    if found.lower is None or found.upper is None:
        return ""
    low, high = (number(end, places, signed=signed) for end in (found.lower, found.upper))
    return f"[{low}, {high}]"


def places_of(estimates: Collection[Estimate], more: Iterable[float | None] = ()) -> int | None:
    """Decimals that fit all of them; None where they are too small for any fixed number.

    Whole numbers have none.
    """
    values = [e.value for e in estimates if e.value is not None]
    values += [value for value in more if value is not None]
    bounds = [end for e in estimates for end in (e.lower, e.upper) if end is not None]
    largest = max(map(abs, [*values, *bounds]), default=0.0)
    if all(value == int(value) for value in [*values, *bounds]):
        return 0
    if largest < TINY:
        return None
    return decimals(values)


def percent(share: float) -> str:
    """`0.43 %`, and `< 0.01 %` for what would be rounded away."""
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{share:.2%}".replace("%", " %")


def seconds(value: float | None) -> str:
    """`8.9 s`; a dash where it is not known."""
    return "restored" if value is None else f"{value:,.1f} s"


def group(name: str) -> str:
    """The heading of a group of gates."""
    return GROUPS.get(name, name.capitalize())


def sentence(text: str) -> str:
    """The text with its first letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def tick(value: float, signed: bool) -> str:  # noqa: FBT001 - a template calls it
    """A round value at an axis, with no more decimals than it has."""
    shown = f"{value:+.6g}" if signed and value else f"{value:.6g}"
    return shown.replace("-", MINUS)
