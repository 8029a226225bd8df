"""Gates: the holdout is unseen by both models, and has not decided too often."""

from dataclasses import dataclass

from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion.gate import Gate
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import ScoredCandidate


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """Earlier decisions on a holdout."""

    decisions: int
    candidates: int
    """Different bundles among them."""


def gates(scored: ScoredCandidate, policy: PromoteParams, reuse: Reuse) -> tuple[Gate, ...]:
    """Whether the rows are unseen, and how often they have decided."""
    return (_unseen(scored), _reuse(scored, policy, reuse))


def _unseen(scored: ScoredCandidate) -> Gate:
    rows, left = scored.all_rows.height, len(scored.holdout)
    blocks = int(scored.holdout.blocks.max()) + 1 if left else 0
    summary = f"neither model has trained on any of the {rows:,} rows"
    if scored.seen_rows:
        summary = (
            f"{scored.rival} has trained on {scored.seen_rows:,} of {rows:,} rows; compared on the"
            f" {left:,} that neither has seen"
        )
    if scored.twins:
        names = " and ".join(scored.twins)
        summary += f"; compared by the twin, which has not learnt the holdout: {names}"
    enough = blocks >= FEWEST_BLOCKS
    if not enough:
        summary += f"; {blocks} blocks prove nothing, at least {FEWEST_BLOCKS} are needed"
    return Gate(
        name="holdout unseen",
        group="holdout",
        result="pass" if enough else "not enough evidence",
        summary=summary,
        measured=scored.seen_rows,
        unit="rows seen",
        rows=left,
        blocks=blocks,
    )


def _reuse(scored: ScoredCandidate, policy: PromoteParams, reuse: Reuse) -> Gate:
    limit = policy.holdout_decisions
    chance = min(1.0, (reuse.candidates + 1) * policy.alpha)
    used_up = reuse.decisions >= limit
    summary = (
        f"earlier decisions: {reuse.decisions}, about other candidates: {reuse.candidates};"
        f" the chance that one of them or this one is promoted by luck is at most {chance:.1%}"
    )
    if used_up:
        summary += "; no more are allowed: ingest a newer partition, or raise"
        summary += " `promote.holdout_decisions`"
    return Gate(
        name="holdout reuse",
        group="holdout",
        result="not enough evidence" if used_up else "pass",
        summary=summary,
        measured=reuse.decisions,
        limit=limit,
        unit="decisions",
        rows=scored.all_rows.height,
    )
