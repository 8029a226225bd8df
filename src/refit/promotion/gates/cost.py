"""Gates: latency and size of the candidate, compared with the champion.

Latency depends on the machine and the moment, so it is measured here and not in a stage. The two
models are timed in turn. Other work on the machine can only make a prediction slower, so a gate
fails when even the best of several rounds is above the limit.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import TYPE_CHECKING

import polars as pl

from refit.promotion.gate import Gate
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import ScoredCandidate
from refit.serving.digest import MODEL

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

ROUNDS = 5
SINGLE = 40
"""Rows predicted one at a time in each round."""
BATCH = 2048
"""Rows of the batch."""

P50, P99, BATCH_LATENCY = "latency one row p50", "latency one row p99", "latency batch"

Clock = Callable[[], float]


def gates(
    scored: ScoredCandidate, policy: PromoteParams, clock: Clock = time.perf_counter
) -> tuple[Gate, ...]:
    """Latency of one row (median and 99th percentile) and of a batch, and size."""
    return (*_latency(scored, policy.latency_ratio, clock), _size(scored, policy.size_ratio))


def _latency(scored: ScoredCandidate, limit: float, clock: Clock) -> tuple[Gate, ...]:
    names = (P50, P99, BATCH_LATENCY)
    if not scored.all_rows.height or scored.holdout.rival is None:
        reason = scored.comparison_error or "there are no rows to predict"
        return tuple(_unmeasured(name, f"not measured: {reason}") for name in names)
    models = [scored.candidate] if scored.champion is None else [scored.candidate, scored.champion]
    rounds = [[seconds(model, scored.all_rows, clock) for model in models] for _ in range(ROUNDS)]
    if scored.champion is None:
        return tuple(_alone(name, [times[name] for (times,) in rounds]) for name in names)
    return tuple(
        _ratio(name, [(candidate[name], champion[name]) for candidate, champion in rounds], limit)
        for name in names
    )


def seconds(model: "Bundle", rows: pl.DataFrame, clock: Clock) -> Mapping[str, float]:
    """Seconds for one row (median and 99th percentile) and for a batch, by the gate's name."""
    single = [_timed(model, rows[i % rows.height], clock) for i in range(SINGLE)]
    return {
        P50: median(single),
        P99: quantiles(single, n=100, method="inclusive")[98],
        BATCH_LATENCY: _timed(model, rows.head(BATCH), clock),
    }


def _timed(model: "Bundle", rows: pl.DataFrame, clock: Clock) -> float:
    started = clock()
    model.predict(rows)
    return clock() - started


def _ratio(name: str, rounds: list[tuple[float, float]], limit: float) -> Gate:
    """The gate of one latency, from the seconds of candidate and champion in each round."""
    ratios = sorted(candidate / champion for candidate, champion in rounds)
    candidate, champion = (median(seconds) * 1000 for seconds in zip(*rounds, strict=True))
    return Gate(
        name=name,
        group="budget",
        result="fail" if ratios[0] > limit else "pass",
        summary=f"{candidate:.2f} ms, the champion {champion:.2f} ms",
        measured=median(ratios),
        lower=ratios[0],
        upper=ratios[-1],
        limit=limit,
        unit="times the champion",
    )


def _alone(name: str, times: list[float]) -> Gate:
    """The gate of one latency in seconds, where there is no champion."""
    return Gate(
        name=name,
        group="budget",
        result="pass",
        summary=f"{median(times) * 1000:.2f} ms; there is no champion to compare with",
        measured=median(times),
        lower=min(times),
        upper=max(times),
        unit="seconds",
    )


def _unmeasured(name: str, summary: str) -> Gate:
    return Gate(name=name, group="budget", result="not enough evidence", summary=summary)


def _size(scored: ScoredCandidate, limit: float) -> Gate:
    size = (scored.candidate.folder / MODEL).stat().st_size
    if scored.champion is None:
        return Gate(
            name="size",
            group="budget",
            result="pass",
            summary=f"{size:,} bytes; there is no champion to compare with",
            measured=size,
            unit="bytes",
        )
    champion_size = (scored.champion.folder / MODEL).stat().st_size
    return Gate(
        name="size",
        group="budget",
        result="fail" if size > limit * champion_size else "pass",
        summary=f"{size:,} bytes, the champion {champion_size:,}",
        measured=size / champion_size,
        limit=limit,
        unit="times the champion",
    )
