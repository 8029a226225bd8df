"""The gates of a decision, its policy and the earlier use of its holdout, as people read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refit.review.estimate import Estimate

ORDER = ("fail", "not enough evidence", "pass")
"""The results of gates as the page lists them."""
SHOWN_ELSEWHERE = frozenset(
    {"difference", "lower", "upper", "rows", "blocks"}
    | {"minimum_detectable", "rival", "gates", "reuse"}
)
"""Fields of the evidence that other parts of the page show."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A gate as the decision recorded it."""

    name: str
    result: str
    finding: str
    """What was measured, in a sentence with its numbers."""
    estimate: Estimate
    limit: float | None
    unit: str
    rows: int | None
    blocks: int | None
    binding: bool
    """Whether a lack of evidence keeps the candidate from promotion."""


def by_group(evidence: Mapping[str, Any]) -> tuple[tuple[str, tuple[Gate, ...]], ...]:
    """The gates by group; within a group, those that do not pass come first."""
    groups: dict[str, list[Gate]] = {}
    for recorded in evidence["gates"]:
        groups.setdefault(recorded["group"], []).append(_gate(recorded))
    return tuple(
        (group, tuple(sorted(gates, key=lambda gate: ORDER.index(gate.result))))
        for group, gates in groups.items()
    )


def _gate(recorded: Mapping[str, Any]) -> Gate:
    return Gate(
        name=recorded["name"],
        result=recorded["result"],
        finding=recorded["summary"],
        estimate=Estimate(
            value=recorded["measured"], lower=recorded["lower"], upper=recorded["upper"]
        ),
        limit=recorded["limit"],
        unit=recorded["unit"],
        rows=recorded["rows"],
        blocks=recorded["blocks"],
        binding=recorded["binding"],
    )


def policy(evidence: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Every field of the evidence that is not shown elsewhere: its name and value in words."""
    return tuple(
        (name, _words(value))
        for name, value in sorted(evidence.items())
        if name not in SHOWN_ELSEWHERE
    )


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def reuse(evidence: Mapping[str, Any]) -> str:
    """How often the holdout was used in decisions before, in words."""
    decisions, candidates = (evidence["reuse"][name] for name in ("decisions", "candidates"))
    if not decisions:
        return "first decision"
    return f"decisions before: {decisions}, candidates: {candidates}"
