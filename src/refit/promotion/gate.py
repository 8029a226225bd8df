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
    """The measurement and the result of one gate; each gate of the policy always gives one."""

    name: str
    """Unique within a judgement: `improvement`, `baseline linear`, `slice carrier=AA`, `size`."""
    group: Group
    result: Result
    summary: str
    """What was measured, in a sentence with its numbers."""
    measured: float | None = None
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None
    unit: str = ""
    rows: int | None = None
    blocks: int | None = None
    binding: bool = True
    """Whether a lack of evidence keeps the candidate from promotion; a failure always does."""


def outcome(gates: Iterable[Gate]) -> Outcome:
    """A failed gate rejects; otherwise a binding gate without evidence leaves it not proven."""
    results = {gate.result for gate in gates if gate.binding or gate.result == "fail"}
    if "fail" in results:
        return "reject"
    return "not proven" if "not enough evidence" in results else "promote"


def better(comparison: Comparison, minimum_effect: float) -> Result:
    """Whether the candidate is proven to be better by an amount that matters.

    pass: the interval lies above zero, and the gain is at least the minimum effect.
    fail: the interval lies below the minimum effect.
    not enough evidence: any other interval, and any comparison on too few blocks.
    """
    if comparison.blocks < FEWEST_BLOCKS:
        return "not enough evidence"
    if comparison.lower > 0 and comparison.difference >= minimum_effect:
        return "pass"
    if comparison.upper < minimum_effect:
        return "fail"
    return "not enough evidence"


def not_worse(comparison: Comparison, margin: float) -> Result:
    """Whether the candidate is proven not to be worse by more than the margin (non-inferiority)."""
    if comparison.blocks < FEWEST_BLOCKS:
        return "not enough evidence"
    if comparison.lower > -margin:
        return "pass"
    return "fail" if comparison.upper < -margin else "not enough evidence"
