"""What the candidate costs to serve, against the champion: seconds to answer, bytes to keep.

Seconds are of this machine at this moment, so they are measured here and not in a stage. The two
models are timed in turn, and what else the machine does can only make an answer slower: a budget is
exceeded when even the best of several rounds exceeds it.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import TYPE_CHECKING

import polars as pl

from refit.promotion.gate import Gate
from refit.promotion.policy import PromoteParams
from refit.promotion.scoring import Scored
from refit.serving.digest import MODEL

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

ROUNDS = 5
SINGLE = 40
"""Rows asked one at a time in each round."""
BATCH = 2048
"""Rows of the batch."""

P50, P99, WHOLE = "latency one row p50", "latency one row p99", "latency batch"

Clock = Callable[[], float]


def gates(
    case: Scored, policy: PromoteParams, clock: Clock = time.perf_counter
) -> tuple[Gate, ...]:
    """Latency of one row (median and 99th percentile) and of a batch, and size."""
    return (*_latency(case, policy.latency_ratio, clock), _size(case, policy.size_ratio))


def _latency(case: Scored, limit: float, clock: Clock) -> tuple[Gate, ...]:
    names = (P50, P99, WHOLE)
    if not case.whole.height or case.holdout.rival is None:
        why = case.fault or "there is no row to ask about"
        return tuple(_unmeasured(name, f"not measured: {why}") for name in names)
    models = [case.candidate] if case.champion is None else [case.candidate, case.champion]
    rounds = [[seconds(model, case.whole, clock) for model in models] for _ in range(ROUNDS)]
    if case.champion is None:
        return tuple(_alone(name, [own[name] for (own,) in rounds]) for name in names)
    return tuple(
        _ratio(name, [(own[name], other[name]) for own, other in rounds], limit) for name in names
    )


def seconds(model: "Bundle", rows: pl.DataFrame, clock: Clock) -> Mapping[str, float]:
    """Seconds of one row, median and 99th percentile, and of a batch, by the gate's name."""
    single = [_timed(model, rows[i % rows.height], clock) for i in range(SINGLE)]
    return {
        P50: median(single),
        P99: quantiles(single, n=100, method="inclusive")[98],
        WHOLE: _timed(model, rows.head(BATCH), clock),
    }


def _timed(model: "Bundle", rows: pl.DataFrame, clock: Clock) -> float:
    started = clock()
    model.predict(rows)
    return clock() - started


def _ratio(name: str, turns: list[tuple[float, float]], limit: float) -> Gate:
    ratios = sorted(own / other for own, other in turns)
    own, other = (median(each) * 1000 for each in zip(*turns, strict=True))
    return Gate(
        name=name,
        group="budget",
        result="fail" if ratios[0] > limit else "pass",
        said=f"{own:.2f} ms, the champion {other:.2f} ms",
        measured=median(ratios),
        lower=ratios[0],
        upper=ratios[-1],
        limit=limit,
        unit="times the champion",
    )


def _alone(name: str, found: list[float]) -> Gate:
    return Gate(
        name=name,
        group="budget",
        result="pass",
        said=f"{median(found) * 1000:.2f} ms; there is no champion to compare with",
        measured=median(found),
        lower=min(found),
        upper=max(found),
        unit="seconds",
    )


def _unmeasured(name: str, said: str) -> Gate:
    return Gate(name=name, group="budget", result="not enough evidence", said=said)


def _size(case: Scored, limit: float) -> Gate:
    own = (case.candidate.folder / MODEL).stat().st_size
    if case.champion is None:
        said = f"{own:,} bytes; there is no champion to compare with"
        return Gate(
            name="size", group="budget", result="pass", said=said, measured=own, unit="bytes"
        )
    other = (case.champion.folder / MODEL).stat().st_size
    return Gate(
        name="size",
        group="budget",
        result="fail" if own > limit * other else "pass",
        said=f"{own:,} bytes, the champion {other:,}",
        measured=own / other,
        limit=limit,
        unit="times the champion",
    )
