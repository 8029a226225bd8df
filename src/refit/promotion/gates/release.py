"""Gates: a release fit is sound. They are there only where one goes live.

It has learnt every row, the holdout too, so nothing is left to evaluate it on: the other gates are
about its twin. These ones find a fit that went wrong. They prove nothing about its quality.
"""

from typing import Any

import numpy as np

from refit.evaluation import release
from refit.promotion.gate import Gate, Result, better
from refit.promotion.gates import improvement, model
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import ReleaseScores, ScoredCandidate


def gates(scored: ScoredCandidate, policy: PromoteParams) -> tuple[Gate, ...]:
    """Predictions in range and equal to training, and no worse than the twin on learnt rows."""
    fit = scored.release
    if fit is None:
        return ()
    return (
        model.in_range("release fit in range", scored.task, fit.predictions),
        model.equals_training("release fit equals training", fit.predictions, fit.expected),
        _near_twin(scored, fit, policy),
    )


def _near_twin(scored: ScoredCandidate, fit: ReleaseScores, policy: PromoteParams) -> Gate:
    """Fails when the fit is proven worse than its twin on the holdout, by the minimum effect.

    The release fit has learnt these rows and its twin has not, so it should be better on them.
    """
    own, twin = scored.holdout.release, scored.holdout.candidate
    if own is None or not len(own):
        return _gate("not enough evidence", "not compared with its twin: there are no rows")
    if not (np.isfinite(own).all() and np.isfinite(twin).all()):
        return _gate("fail", "not compared with its twin: predictions are not finite")
    comparison = improvement.paired(scored, policy, own, seeds=2)  # of the twin with the fit
    gain = 0.0 - comparison.difference
    summary = (
        f"{policy.metric} {'better' if gain >= 0 else 'worse'} by {abs(gain):.5f} than its twin, on"
        " holdout rows that it has learnt and the twin has not; this proves nothing about its"
        " quality. "
        + release.distance_words(release.distance(scored.all_predictions, fit.predictions))
    )
    return _gate(
        "fail" if better(comparison, policy.minimum_effect) == "pass" else "pass",
        summary.removesuffix("."),
        measured=gain,
        lower=0.0 - comparison.upper,
        upper=0.0 - comparison.lower,
        limit=-policy.minimum_effect,
        rows=comparison.rows,
        blocks=comparison.blocks,
        unit=policy.metric,
    )


def _gate(result: Result, summary: str, **measured: Any) -> Gate:
    return Gate(
        name="release fit near its twin", group="model", result=result, summary=summary, **measured
    )
