"""Gates: no slice may lose more than its tolerance, whether declared by the dataset or found.

A slice fails only when its loss is proven. All slices of a kind are tested together (see
refit.promotion.multiple_testing). Values with too few rows or blocks are pooled, so that no row is
left out.

Slices are searched for on the validation part, one feature at a time: each category, each quarter
of each number, and missing values. The slices that lost most, in standard errors beyond the
tolerance, are tested on the holdout, which had no part in choosing them. Slices of two features are
not searched: a few thousand rows are too few to test that many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion import multiple_testing, scoring
from refit.promotion.gate import Gate, Result
from refit.promotion.multiple_testing import MeanTests
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import ScoredCandidate, ScoredRows

MOST = 100
"""Values of a column with their own slice, the largest ones; a decision's record is limited."""
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
    """Number of blocks that have a row inside."""

    @property
    def rows(self) -> int:
        """Number of rows inside."""
        return int(self.inside.sum())


def declared(scored: ScoredCandidate, policy: PromoteParams) -> tuple[Gate, ...]:
    """A gate for each value of each slice column of the dataset."""
    holdout = scored.holdout
    if not scored.slices:
        return (_plain("slices", "pass", "does not apply: the dataset declares no slices"),)
    if scored.comparison_error or not len(holdout):
        return (_plain("slices", "not enough evidence", _not_measured(scored)),)
    slices = [
        each
        for column in scored.slices
        for each in split(holdout.rows[column], holdout.blocks, policy.smallest_slice)
    ]
    return judged(slices, scored, policy, "slice")


def searched(scored: ScoredCandidate, policy: PromoteParams) -> tuple[Gate, ...]:
    """A gate for each slice that lost on the validation part, judged on the holdout."""
    name, holdout, validation = "found slices", scored.holdout, scored.validation
    if not policy.found_slices:
        return (_plain(name, "pass", "does not apply: `found_slices` of the policy is 0"),)
    if scored.comparison_error or validation is None or not len(holdout):
        return (_plain(name, "not enough evidence", _not_measured(scored)),)
    columns = [entry["name"] for entry in scored.candidate.signature["inputs"]]
    worst, tried = search(scored, policy, [name for name in columns if name not in scored.slices])
    if not worst:
        summary = f"{tried:,} slices of the validation part tried; none lost beyond its tolerance"
        return (_plain(name, "pass", summary),)
    slices = []
    for label, column in worst.items():
        cells = cells_of(holdout.rows[column], validation.rows[column])
        inside = cells[label.removeprefix(f"{column}=")]
        slices.append(_slice(label, inside, holdout.blocks))
    return judged(slices, scored, policy, "found slice", f"of {tried:,} tried on validation; ")


def search(
    scored: ScoredCandidate, policy: PromoteParams, columns: Sequence[str]
) -> tuple[Mapping[str, str], int]:
    """The slices that lost most on validation (name to column), and how many were tried."""
    part = scored.validation
    assert part is not None
    tried = [
        (column, _slice(f"{column}={label}", inside, part.blocks))
        for column in columns
        for label, inside in cells_of(part.rows[column], part.rows[column]).items()
    ]
    large = [(column, each) for column, each in tried if measurable(each, policy.smallest_slice)]
    if not large:
        return {}, 0
    tests = _test([each for _, each in large], part, scored, policy)
    order = np.argsort(-tests.statistic, kind="stable")[: policy.found_slices]
    chosen = [large[i] for i in order if tests.statistic[i] > 0]
    return {each.name: column for column, each in chosen}, len(large)


def cells_of(values: pl.Series, fitted: pl.Series) -> dict[str, np.ndarray]:
    """Masks (N,) of the cells of a column: its largest categories, or the quarters of a number.

    Args:
        values: (N,) the column in the rows to mask.
        fitted: the column whose categories and quarters define the cells.
    """
    cells = {MISSING: values.is_null().to_numpy()}
    if fitted.dtype == pl.String:
        labels = sorted(_largest(fitted.drop_nulls()))
        return cells | {v: (values == v).fill_null(value=False).to_numpy() for v in labels}
    numbers, fitted_numbers = (s.cast(pl.Float64).fill_nan(None) for s in (values, fitted))
    cells[MISSING] = numbers.is_null().to_numpy()
    known = fitted_numbers.drop_nulls().to_numpy()
    if not len(known):
        return cells
    edges = np.unique(np.quantile(known, np.arange(1, QUARTERS) / QUARTERS))
    quarter = np.searchsorted(edges, numbers.fill_null(np.inf).to_numpy(), side="left")
    bounds = ["-inf", *(f"{edge:.4g}" for edge in edges), "inf"]
    for i in range(len(edges) + 1):
        cells[f"({bounds[i]}, {bounds[i + 1]}]"] = (quarter == i) & ~cells[MISSING]
    return cells


def split(values: pl.Series, blocks: np.ndarray, smallest: int) -> list[Slice]:
    """The values of a column as slices; those too small to be judged are pooled."""
    labels = values.cast(pl.String).fill_null(MISSING)
    slices = [
        _slice(f"{values.name}={label}", (labels == label).to_numpy(), blocks)
        for label in _largest(labels)
    ]
    large = [each for each in slices if measurable(each, smallest)]
    rest = ~np.any([each.inside for each in large], axis=0) if large else np.ones(len(labels), bool)
    pooled = [_slice(f"{values.name}={OTHERS}", rest, blocks)] if rest.any() else []
    return sorted(large, key=lambda each: each.name) + pooled


def _largest(labels: pl.Series) -> list[str]:
    """The labels with most rows, in alphabetical order where the number is equal."""
    ranked = sorted(
        labels.alias("label").value_counts().iter_rows(), key=lambda row: (-row[1], row[0])
    )
    return [label for label, _ in ranked[:MOST]]


def measurable(each: Slice, smallest: int) -> bool:
    """Whether the slice has enough rows and blocks to be judged."""
    return each.rows >= smallest and each.blocks >= FEWEST_BLOCKS


def judged(
    slices: Sequence[Slice],
    scored: ScoredCandidate,
    policy: PromoteParams,
    kind: str,
    note: str = "",
) -> tuple[Gate, ...]:
    """A gate for each slice; those with enough rows and blocks are tested together.

    Args:
        slices: of the holdout.
        scored: candidate and rival.
        policy: of the project.
        kind: begins the name of each gate.
        note: begins the summary of each gate.
    """
    large = [each for each in slices if measurable(each, policy.smallest_slice)]
    gates: list[Gate] = []
    if large:
        tests = _test(large, scored.holdout, scored, policy)
        gates += [
            _gate(f"{kind} {each.name}", each, tests, i, alpha=policy.alpha, note=note)
            for i, each in enumerate(large)
        ]
    summary = "too few rows or blocks to prove a loss; does not keep the candidate from promotion"
    gates += [
        Gate(
            name=f"{kind} {each.name}",
            group="slice",
            result="not enough evidence",
            summary=note + summary,
            rows=each.rows,
            blocks=each.blocks,
            binding=False,
        )
        for each in slices
        if not measurable(each, policy.smallest_slice)
    ]
    return tuple(gates)


def _test(
    slices: Sequence[Slice], part: ScoredRows, scored: ScoredCandidate, policy: PromoteParams
) -> MeanTests:
    """The loss of each slice beyond the rival's, compared with the tolerance."""
    assert part.rival is not None
    candidate, rival = (
        scoring.losses(policy.metric, scored.task, part.target, predicted)
        for predicted in (part.candidate, part.rival)
    )
    sizes = _sums(slices, part.blocks, np.ones(len(part)))
    limit = policy.slice_tolerance * _sums(slices, part.blocks, rival).sum(axis=0)
    sums = _sums(slices, part.blocks, candidate - rival)
    return multiple_testing.test(sums, sizes, limit / sizes.sum(axis=0), policy)


def _sums(slices: Sequence[Slice], blocks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(B, S) the sum of the values (N,) over the rows of each block inside each slice."""
    count = int(blocks.max()) + 1
    columns = [np.bincount(blocks[e.inside], values[e.inside], count) for e in slices]
    return np.stack(columns, axis=1)


def _gate(name: str, each: Slice, tests: MeanTests, i: int, *, alpha: float, note: str) -> Gate:
    worse, proven = float(tests.mean[i]), tests.p[i] < alpha
    change = f"worse by {worse:.5f}" if worse > 0 else f"better by {abs(worse):.5f}"
    proof = "a loss beyond the tolerance is proven" if proven else "no proven loss"
    return Gate(
        name=name,
        group="slice",
        result="fail" if proven else "pass",
        summary=f"{note}{change}; {proof} (p {tests.p[i]:.3f})",
        measured=0.0 - worse,  # a bare minus would make -0.0 of 0
        lower=_finite(0.0 - tests.upper[i]),
        upper=_finite(0.0 - tests.lower[i]),
        limit=-float(tests.limit[i]),
        unit="loss less than the rival's",
        rows=each.rows,
        blocks=each.blocks,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _slice(name: str, inside: np.ndarray, blocks: np.ndarray) -> Slice:
    return Slice(name=name, inside=inside, blocks=len(np.unique(blocks[inside])))


def _plain(name: str, result: Result, summary: str) -> Gate:
    return Gate(name=name, group="slice", result=result, summary=summary)


def _not_measured(scored: ScoredCandidate) -> str:
    return f"not measured: {scored.comparison_error or 'there are no rows to compare on'}"
