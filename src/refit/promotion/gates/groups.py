"""Gates: the loss of each group that the policy declares, compared with all other rows.

Unlike a slice, a group is compared with the other rows of the same model: a model may be better
than the champion everywhere and still serve one group badly. A gap does not prove unfairness,
because some groups are harder to predict. A gate fails only when the gap is proven to be above the
tolerance.
"""

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.promotion import multiple_testing, scoring
from refit.promotion.gate import Gate, Result
from refit.promotion.gates.slices import Slice, measurable, split
from refit.promotion.multiple_testing import MeanTests
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import ScoredCandidate


def gates(scored: ScoredCandidate, policy: PromoteParams) -> tuple[Gate, ...]:
    """A gate for each group of each column that the policy names."""
    if not policy.groups:
        return (_plain("groups", "pass", "does not apply: the policy declares no groups"),)
    holdout = scored.holdout
    absent = [name for name in policy.groups if name not in holdout.rows.columns]
    if absent:
        summary = f"not measured: the examples have no column {', '.join(absent)}"
        return (_plain("groups", "not enough evidence", summary),)
    if not len(holdout) or not np.isfinite(holdout.candidate).all():
        summary = "not measured: there are no rows, or predictions are not finite"
        return (_plain("groups", "not enough evidence", summary),)
    groups = [
        group
        for column in policy.groups
        for group in split(holdout.rows[column], holdout.blocks, policy.smallest_slice)
    ]
    large = [g for g in groups if measurable(g, policy.smallest_slice) and g.rows < len(holdout)]
    small = [_small(group) for group in groups if group not in large]
    return (*_measured(large, scored, policy), *small)


def _measured(
    groups: list[Slice], scored: ScoredCandidate, policy: PromoteParams
) -> tuple[Gate, ...]:
    if not groups:
        return ()
    rows = scored.holdout
    loss = scoring.losses(policy.metric, scored.task, rows.target, rows.candidate)
    inside = np.stack([group.inside for group in groups], axis=1)
    means = np.array([loss[group.inside].mean() for group in groups])
    others = np.array([loss[~group.inside].mean() for group in groups])
    tests = multiple_testing.test(
        _gaps(loss, inside, means, others, rows.blocks),
        np.repeat(paired_bootstrap.by_block(rows.blocks), len(groups), axis=1),
        policy.group_tolerance * others,
        policy,
    )
    return tuple(
        _gate(group, tests, i, f"loss {means[i]:.5f}, {others[i]:.5f} for all others", policy.alpha)
        for i, group in enumerate(groups)
    )


def _gaps(
    loss: np.ndarray, inside: np.ndarray, means: np.ndarray, others: np.ndarray, blocks: np.ndarray
) -> np.ndarray:
    """(B, S) sums over blocks: their mean by row is the gap, and their spread is that of the gap.

    Each row counts with its influence on the difference of the two means (the delta method).

    Args:
        loss: (N,) of each row.
        inside: (N, S) whether each row is in each group.
        means: (S,) mean loss inside.
        others: (S,) mean loss outside.
        blocks: (N,) block numbers.
    """
    share = inside.mean(axis=0)
    influence = np.where(
        inside, (loss[:, None] - means) / share, (others - loss[:, None]) / (1 - share)
    )
    rows = influence + means - others
    return np.stack([np.bincount(blocks, column) for column in rows.T], axis=1)


def _gate(group: Slice, tests: MeanTests, i: int, summary: str, alpha: float) -> Gate:
    proven = tests.p[i] < alpha
    return Gate(
        name=f"group {group.name}",
        group="group",
        result="fail" if proven else "pass",
        summary=f"{summary}; {'a' if proven else 'no proven'} gap above the tolerance"
        f" (p {tests.p[i]:.3f})",
        measured=float(tests.mean[i]),
        lower=float(tests.lower[i]),
        upper=float(tests.upper[i]),
        limit=float(tests.limit[i]),
        unit="loss more than the others'",
        rows=group.rows,
        blocks=group.blocks,
    )


def _small(group: Slice) -> Gate:
    return Gate(
        name=f"group {group.name}",
        group="group",
        result="not enough evidence",
        summary="too few rows or blocks to prove a gap; does not keep the candidate from promotion",
        rows=group.rows,
        blocks=group.blocks,
        binding=False,
    )


def _plain(name: str, result: Result, summary: str) -> Gate:
    return Gate(name=name, group="group", result=result, summary=summary)
