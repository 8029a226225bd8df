"""The holdout as a judge: unseen by both models, and not asked too often."""

from dataclasses import dataclass

from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion.gate import Gate, Result
from refit.promotion.policy import PromoteParams
from refit.promotion.scoring import Scored


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """How often a holdout has decided before this candidate."""

    decisions: int
    candidates: int
    """Different bundles among them."""


def gates(case: Scored, policy: PromoteParams, reuse: Reuse) -> tuple[Gate, ...]:
    """Whether its rows are unseen, and how often it has decided."""
    return (_unseen(case), _reuse(case, policy, reuse))


def _unseen(case: Scored) -> Gate:
    rows, left = case.whole.height, len(case.holdout.target)
    blocks = int(case.holdout.blocks.max()) + 1 if left else 0
    result: Result = "pass"
    said = f"neither model has trained on any of the {rows:,} rows"
    if case.seen:
        said = (
            f"{case.rival} has trained on {case.seen:,} of {rows:,} rows; compared on the"
            f" {left:,} that neither has seen"
        )
    if blocks < FEWEST_BLOCKS:
        result = "not enough evidence"
        said += f"; {blocks} blocks prove nothing, {FEWEST_BLOCKS} could"
    if case.seen is None:
        result = "not enough evidence"
        said = f"the lineage of {case.rival} does not say which rows it has trained on"
    return Gate(
        name="holdout unseen",
        group="holdout",
        result=result,
        said=said,
        measured=case.seen,
        unit="rows seen",
        rows=left,
        blocks=blocks,
    )


def _reuse(case: Scored, policy: PromoteParams, reuse: Reuse) -> Gate:
    budget = policy.holdout_decisions
    chance = min(1.0, (reuse.candidates + 1) * policy.alpha)
    used = reuse.decisions >= budget
    said = (
        f"decisions before: {reuse.decisions}, about other candidates: {reuse.candidates};"
        f" the chance that one of them all is promoted by luck is at most {chance:.1%}"
    )
    if used:
        said += "; it is used up: bring a newer partition, or raise `promote.holdout_decisions`"
    return Gate(
        name="holdout reuse",
        group="holdout",
        result="not enough evidence" if used else "pass",
        said=said,
        measured=reuse.decisions,
        limit=budget,
        unit="decisions",
        rows=case.whole.height,
    )
