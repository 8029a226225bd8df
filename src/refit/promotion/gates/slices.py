"""No slice may lose more than its tolerance: slices declared by the dataset, and slices found.

A slice fails only when the loss is proven, all slices of a kind being tested together (see
refit.promotion.multiple_testing). Values with too few rows or blocks are pooled, so that no row is
left out.

Slices are found on the validation part, one feature at a time: each category, each quarter of each
number, and what is missing. Those that lost most, in standard errors beyond the tolerance, are
tested on the holdout, which had no part in choosing them. Given up: slices of two features, of
which there are too many for an honest search on a few thousand rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion import multiple_testing, scoring
from refit.promotion.gate import Gate, Result
from refit.promotion.multiple_testing import Tested
from refit.promotion.policy import PromoteParams
from refit.promotion.scoring import Part, Scored

MOST = 100
"""Largest values of a column that are looked at by themselves: a decision's record is limited."""
OTHERS = "all others"
MISSING = "missing"
QUARTERS = 4


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Some rows of a part."""

    name: str
    inside: np.ndarray
    """(N,) boolean."""
    blocks: int
    """With a row of it."""

    @property
    def rows(self) -> int:
        """How many rows are inside."""
        return int(self.inside.sum())


def declared(case: Scored, policy: PromoteParams) -> tuple[Gate, ...]:
    """A gate for each value of each slice column of the dataset."""
    if not case.slices:
        return (_plain("slices", "pass", "does not apply: the dataset declares no slices"),)
    if case.fault or not len(case.holdout.target):
        return (_plain("slices", "not enough evidence", f"not measured: {_why(case)}"),)
    found = [
        each
        for column in case.slices
        for each in split(case.holdout.rows[column], case.holdout.blocks, policy.smallest_slice)
    ]
    return judged(found, case, policy, "slice")


def found(case: Scored, policy: PromoteParams) -> tuple[Gate, ...]:
    """A gate for each slice that lost on the validation part, judged on the holdout."""
    if not policy.found_slices:
        return (_plain("found slices", "pass", "does not apply: the policy searches for none"),)
    if case.fault or case.validation is None or not len(case.holdout.target):
        return (_plain("found slices", "not enough evidence", f"not measured: {_why(case)}"),)
    columns = [entry["name"] for entry in case.candidate.signature["inputs"]]
    searched = [name for name in columns if name not in case.slices]
    worst, tried = search(case, policy, searched)
    if not worst:
        said = f"{tried:,} slices of the validation part tried; none lost more than its tolerance"
        return (_plain("found slices", "pass", said),)
    cells = {
        name: cells_of(case.holdout.rows[column], case.validation.rows[column])
        for name, column in worst.items()
    }
    slices = [
        _slice(name, label[name.removeprefix(f"{worst[name]}=")], case.holdout.blocks)
        for name, label in cells.items()
    ]
    return judged(slices, case, policy, "found slice", f"of {tried:,} tried on validation; ")


def search(
    case: Scored, policy: PromoteParams, columns: Sequence[str]
) -> tuple[Mapping[str, str], int]:
    """The slices that lost most on validation (name to column), and how many were tried."""
    part = case.validation
    assert part is not None
    assert part.rival is not None
    tried = [
        (column, _slice(f"{column}={label}", inside, part.blocks))
        for column in columns
        for label, inside in cells_of(part.rows[column], part.rows[column]).items()
    ]
    large = [(column, each) for column, each in tried if measurable(each, policy.smallest_slice)]
    if not large:
        return {}, 0
    tested = _tested([each for _, each in large], part, case, policy)
    order = np.argsort(-tested.statistic, kind="stable")[: policy.found_slices]
    chosen = [large[i] for i in order if tested.statistic[i] > 0]
    return {each.name: column for column, each in chosen}, len(large)


def cells_of(values: pl.Series, fitted: pl.Series) -> dict[str, np.ndarray]:
    """Masks (N,) of a column's cells: its largest categories, or quarters of the fitted values.

    Args:
        values: of the rows.
        fitted: the column whose categories and quarters make the cells.
    """
    cells = {MISSING: values.is_null().to_numpy()}
    if fitted.dtype == pl.String:
        labels = sorted(_largest(fitted.drop_nulls()))
        return cells | {v: (values == v).fill_null(value=False).to_numpy() for v in labels}
    numbers, whole = (s.cast(pl.Float64).fill_nan(None) for s in (values, fitted.drop_nulls()))
    cells[MISSING] = numbers.is_null().to_numpy()
    whole = whole.drop_nulls()
    if whole.is_empty():
        return cells
    edges = np.unique(np.quantile(whole.to_numpy(), np.arange(1, QUARTERS) / QUARTERS))
    at = np.searchsorted(edges, numbers.fill_null(np.inf).to_numpy(), side="left")
    bounds = ["-inf", *(f"{edge:.4g}" for edge in edges), "inf"]
    for i in range(len(edges) + 1):
        cells[f"({bounds[i]}, {bounds[i + 1]}]"] = (at == i) & ~cells[MISSING]
    return cells


def split(values: pl.Series, blocks: np.ndarray, smallest: int) -> list[Slice]:
    """A column's values as slices; what is too small to be judged is pooled."""
    labels = values.cast(pl.String).fill_null(MISSING)
    each = [
        _slice(f"{values.name}={label}", (labels == label).to_numpy(), blocks)
        for label in _largest(labels)
    ]
    kept = [one for one in each if measurable(one, smallest)]
    rest = ~np.any([one.inside for one in kept], axis=0) if kept else np.ones(len(labels), bool)
    pooled = [_slice(f"{values.name}={OTHERS}", rest, blocks)] if rest.any() else []
    return sorted(kept, key=lambda one: one.name) + pooled


def _largest(labels: pl.Series) -> list[str]:
    """The labels with most rows, equal ones in the order of the alphabet."""
    ranked = sorted(labels.value_counts().iter_rows(), key=lambda row: (-row[1], row[0]))
    return [label for label, _ in ranked[:MOST]]


def measurable(each: Slice, smallest: int) -> bool:
    """Whether the slice has the rows and blocks to be judged."""
    return each.rows >= smallest and each.blocks >= FEWEST_BLOCKS


def judged(
    slices: Sequence[Slice], case: Scored, policy: PromoteParams, kind: str, note: str = ""
) -> tuple[Gate, ...]:
    """A gate for each slice, those that can be measured tested together."""
    large = [each for each in slices if measurable(each, policy.smallest_slice)]
    gates: list[Gate] = []
    if large:
        tested = _tested(large, case.holdout, case, policy)
        gates += [
            _gate(kind, each, tested, i, alpha=policy.alpha, note=note)
            for i, each in enumerate(large)
        ]
    gates += [
        Gate(
            name=f"{kind} {each.name}",
            group="slice",
            result="not enough evidence",
            said=f"{note}too few rows or blocks to prove a loss; does not hold the candidate up",
            rows=each.rows,
            blocks=each.blocks,
            binding=False,
        )
        for each in slices
        if not measurable(each, policy.smallest_slice)
    ]
    return tuple(gates)


def _tested(slices: Sequence[Slice], part: Part, case: Scored, policy: PromoteParams) -> Tested:
    """Each slice's loss beyond the rival's, held against the tolerance."""
    assert part.rival is not None
    own, rival = (
        scoring.losses(policy.metric, case.task, part.target, predicted)
        for predicted in (part.own, part.rival)
    )
    sizes = _sums(slices, part.blocks, np.ones(len(own)))
    limit = policy.slice_tolerance * _sums(slices, part.blocks, rival).sum(axis=0)
    sums = _sums(slices, part.blocks, own - rival)
    return multiple_testing.test(sums, sizes, limit / sizes.sum(axis=0), policy)


def _sums(slices: Sequence[Slice], blocks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(B, S) the sum of the values of each block inside each slice."""
    count = int(blocks.max()) + 1
    columns = [np.bincount(blocks[e.inside], values[e.inside], count) for e in slices]
    return np.stack(columns, axis=1)


def _gate(kind: str, each: Slice, tested: Tested, i: int, *, alpha: float, note: str) -> Gate:
    worse, proven = float(tested.mean[i]), tested.p[i] < alpha
    verb = f"worse by {worse:.5f}" if worse > 0 else f"better by {-worse:.5f}"
    proof = "a loss beyond the tolerance is proven" if proven else "no proven loss"
    return Gate(
        name=f"{kind} {each.name}",
        group="slice",
        result="fail" if proven else "pass",
        said=f"{note}{verb}; {proof} (p {tested.p[i]:.3f})",
        measured=-worse,
        lower=_finite(-tested.upper[i]),
        upper=_finite(-tested.lower[i]),
        limit=-float(tested.limit[i]),
        unit="loss less than the rival's",
        rows=each.rows,
        blocks=each.blocks,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _slice(name: str, inside: np.ndarray, blocks: np.ndarray) -> Slice:
    return Slice(name=name, inside=inside, blocks=len(np.unique(blocks[inside])))


def _plain(name: str, result: Result, said: str) -> Gate:
    return Gate(name=name, group="slice", result=result, said=said)


def _why(case: Scored) -> str:
    return case.fault or "there are no rows to compare on"
