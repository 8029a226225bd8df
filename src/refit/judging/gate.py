"""A gate: one thing measured, its limit, and whether the candidate passes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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
