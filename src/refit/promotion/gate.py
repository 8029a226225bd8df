"""A gate: one thing measured, its limit, and whether the candidate passes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from refit.evaluation.paired_bootstrap import Comparison
from refit.evaluation.time_blocks import FEWEST_BLOCKS

Outcome = Literal["promote", "reject", "not proven"]
Result = Literal["pass", "fail", "not enough evidence"]
Group = Literal[
    "improvement", "baseline", "calibration", "slice", "group", "holdout", "model", "budget"
]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What was measured and what became of it; every gate of the policy gives one, always."""

    name: str
    """Unique within a judgement: `improvement`, `baseline linear`, `slice carrier=AA`, `size`."""
    group: Group
    result: Result
    said: str
    """What was measured, in a sentence with its numbers."""
    measured: float | None = None
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None
    unit: str = ""
    rows: int | None = None
    blocks: int | None = None
    binding: bool = True
    """Whether a lack of evidence holds the candidate up; a failure always does."""


def outcome(gates: Iterable[Gate]) -> Outcome:
    """One failed gate rejects; else a binding one without evidence leaves it not proven."""
    results = {gate.result for gate in gates if gate.binding or gate.result == "fail"}
    if "fail" in results:
        return "reject"
    return "not proven" if "not enough evidence" in results else "promote"


def verdict(comparison: Comparison, minimum_effect: float) -> Result:
    """What the comparison proves.

    pass: the gain is real (the interval lies above zero) and large enough to matter.
    fail: the gain is shown to be smaller than what matters (the interval lies below it).
    not enough evidence: anything else, and any comparison on too few blocks.
    """
    if comparison.blocks < FEWEST_BLOCKS:
        return "not enough evidence"
    if comparison.lower > 0 and comparison.difference >= minimum_effect:
        return "pass"
    if comparison.upper < minimum_effect:
        return "fail"
    return "not enough evidence"


def not_worse(comparison: Comparison, margin: float) -> Result:
    """Whether the challenger is proven not to be worse by more than the margin (non-inferior)."""
    if comparison.blocks < FEWEST_BLOCKS:
        return "not enough evidence"
    if comparison.lower > -margin:
        return "pass"
    return "fail" if comparison.upper < -margin else "not enough evidence"
