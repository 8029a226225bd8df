"""Groups declared for inclusion: each one's loss against everybody else's, with its interval.

Unlike a slice, a group is compared with the other rows of the same model: a model may be better
than the champion for all and still serve one group badly. A gap is no proof of unfairness (some
groups are harder to predict); it fails only when it is proven to be above the tolerance.
"""

import numpy as np

from refit.evaluation import paired_bootstrap
from refit.promotion import multiple_testing, scoring
from refit.promotion.gate import Gate, Result
from refit.promotion.gates.slices import Slice, measurable, split
from refit.promotion.policy import PromoteParams
from refit.promotion.scoring import Scored


def gates(case: Scored, policy: PromoteParams) -> tuple[Gate, ...]:
    """A gate for each group of each column that the policy names."""
    if not policy.groups:
        return (_plain("groups", "pass", "does not apply: the policy declares no groups"),)
    absent = [name for name in policy.groups if name not in case.holdout.rows.columns]
    if absent:
        said = f"not measured: the examples have no column {', '.join(absent)}"
        return (_plain("groups", "not enough evidence", said),)
    rows = len(case.holdout.target)
    if not rows or not np.isfinite(case.holdout.own).all():
        said = "not measured: there are no rows, or no finite predictions"
        return (_plain("groups", "not enough evidence", said),)
    found = [
        each
        for column in policy.groups
        for each in split(case.holdout.rows[column], case.holdout.blocks, policy.smallest_slice)
    ]
    large = [e for e in found if measurable(e, policy.smallest_slice) and e.rows < rows]
    small = [_small(each) for each in found if each not in large]
    return (*_measured(large, case, policy), *small)


def _measured(large: list[Slice], case: Scored, policy: PromoteParams) -> tuple[Gate, ...]:
    if not large:
        return ()
    part = case.holdout
    loss = scoring.losses(policy.metric, case.task, part.target, part.own)
    inside = np.stack([each.inside for each in large], axis=1)
    own = np.array([loss[each.inside].mean() for each in large])
    others = np.array([loss[~each.inside].mean() for each in large])
    tested = multiple_testing.test(
        _gaps(loss, inside, own, others, part.blocks),
        np.repeat(paired_bootstrap.by_block(part.blocks), len(large), axis=1),
        policy.group_tolerance * others,
        policy,
    )
    return tuple(
        _gate(each, tested, i, f"loss {own[i]:.5f}, {others[i]:.5f} for all others", policy.alpha)
        for i, each in enumerate(large)
    )


def _gaps(
    loss: np.ndarray, inside: np.ndarray, own: np.ndarray, others: np.ndarray, blocks: np.ndarray
) -> np.ndarray:
    """(B, S) sums whose mean by row is the gap, and whose spread by block is the gap's.

    Each row counts with its influence on the difference of the two means (the delta method).
    """
    share = inside.mean(axis=0)
    influence = np.where(
        inside, (loss[:, None] - own) / share, (others - loss[:, None]) / (1 - share)
    )
    rows = influence + own - others
    return np.stack([np.bincount(blocks, column) for column in rows.T], axis=1)


def _gate(each: Slice, tested: multiple_testing.Tested, i: int, said: str, alpha: float) -> Gate:
    proven = tested.p[i] < alpha
    return Gate(
        name=f"group {each.name}",
        group="group",
        result="fail" if proven else "pass",
        said=f"{said}; {'a' if proven else 'no proven'} gap above the tolerance"
        f" (p {tested.p[i]:.3f})",
        measured=float(tested.mean[i]),
        lower=float(tested.lower[i]),
        upper=float(tested.upper[i]),
        limit=float(tested.limit[i]),
        unit="loss more than the others'",
        rows=each.rows,
        blocks=each.blocks,
    )


def _small(each: Slice) -> Gate:
    return Gate(
        name=f"group {each.name}",
        group="group",
        result="not enough evidence",
        said="too few rows or blocks to prove a gap; does not hold the candidate up",
        rows=each.rows,
        blocks=each.blocks,
        binding=False,
    )


def _plain(name: str, result: Result, said: str) -> Gate:
    return Gate(name=name, group="group", result=result, said=said)
