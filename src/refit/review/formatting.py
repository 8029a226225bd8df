"""Figures and names as people read them; the same in page, text and card."""

from collections.abc import Collection, Iterable, Sequence

from refit.review.estimate import Estimate
from refit.review.scales import decimals

MINUS = "\N{MINUS SIGN}"
OUTCOMES = {"promote": "Promoted", "reject": "Rejected", "not proven": "Not proven"}
OUTCOME_MARKS = {"promote": "✓", "reject": "✗", "not proven": "?"}
MARKS = {"pass": "✓", "fail": "✗", "not enough evidence": "?"}
"""A sign for each result of a gate, so that no result is shown by its colour alone."""
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
"""Headings of the groups of gates; any other group has its name as heading."""
METRICS = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "macro_roc_auc": "ROC AUC, mean over classes",
    "macro_f1": "F1, mean over classes",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "median_absolute_error": "median absolute error",
    "r2": "R²",
    "poisson_deviance": "Poisson deviance",
    "d2": "D²",
}
"""Titles of metrics; any other metric has its name, with spaces, as title."""
UNDEFINED = "n/a"
TINY = 1e-4
"""Figures below it are shown with significant digits instead of decimals."""


def number(value: float | None, places: int | None, *, signed: bool = False) -> str:
    """A figure with a true minus sign, and commas between thousands.

    Args:
        value: None where it is not defined.
        places: decimals; None for three significant digits.
        signed: whether a positive figure has a plus sign.
    """
    if value is None:
        return UNDEFINED
    kind = ".3g" if places is None else f",.{places}f"
    return f"{value:{'+' if signed else ''}{kind}}".replace("-", MINUS)


def interval(estimate: Estimate, places: int | None, *, signed: bool = False) -> str:
    """`0.4705 [0.4407, 0.4962]`; the figure alone if it has no bounds."""
    value = number(estimate.value, places, signed=signed)
    bounds = bracket(estimate, places, signed=signed)
    return f"{value} {bounds}" if bounds else value


def bracket(estimate: Estimate, places: int | None, *, signed: bool = False) -> str:
    """`[0.4407, 0.4962]`; empty if there are no bounds."""
    if estimate.lower is None or estimate.upper is None:
        return ""
    low, high = (number(end, places, signed=signed) for end in (estimate.lower, estimate.upper))
    return f"[{low}, {high}]"


def places_of(estimates: Collection[Estimate], more: Iterable[float | None] = ()) -> int | None:
    """Decimals that suit all the figures; None if they are too small for a fixed number.

    Whole numbers have no decimals.
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
    """`0.43 %`, and `< 0.01 %` for a share that would be rounded to zero."""
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{share:.2%}".replace("%", " %")


def seconds(value: float | None) -> str:
    """`12.3 s`, or that the stage was restored from the cache."""
    return "restored" if value is None else f"{value:,.1f} s"


def group(name: str) -> str:
    """The heading of a group of gates."""
    return GROUPS.get(name, name.capitalize())


def metric_title(name: str) -> str:
    """A metric's name for people."""
    return METRICS.get(name, name.replace("_", " "))


def sentence(text: str) -> str:
    """The text with a capital first letter, the rest unchanged."""
    return text[:1].upper() + text[1:]


def span(names: Sequence[str]) -> str:
    """`2013-01 to 2013-12 (12)` of names in the order of time."""
    ordered = sorted(names)
    if len(ordered) < 3:
        return ", ".join(ordered)
    return f"{ordered[0]} to {ordered[-1]} ({len(ordered)})"


def tick(value: float, signed: bool) -> str:  # noqa: FBT001 - a template calls it
    """A round value at an axis, without trailing zeros."""
    shown = f"{value:+.6g}" if signed and value else f"{value:.6g}"
    return shown.replace("-", MINUS)
