"""What is said about a release fit, and how far it is from its twin.

The release fit has learnt the holdout, so it cannot be evaluated. Everything that is said about its
quality is about its twin, the model of the same recipe that was trained without the holdout. What
can be measured is how far their predictions are apart.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np  # a status line needs the words alone

NAME = "release"
"""Of its predictions in data/evaluation/release.parquet, and of its part of reports."""
HOW = "trained on all rows including the holdout; the evaluation is of its twin, trained without it"


def sentence(subject: str = "It", verb: str = "goes") -> str:
    """That the model that goes live is not the one that was evaluated."""
    return f"{subject} {verb} live {HOW}."


def distance(twin: "np.ndarray", release: "np.ndarray") -> dict[str, float]:
    """The mean and the largest difference of two predictions (N,) or (N, K) of the same rows.

    A prediction that is not finite makes both NaN or infinite. Without rows both are 0.
    """
    gap = abs(release - twin)
    rows = len(gap)
    return {
        "rows": rows,
        "mean": float(gap.mean()) if rows else 0.0,
        "largest": float(gap.max()) if rows else 0.0,
    }


def distance_words(distance: Mapping[str, Any]) -> str:
    """The distance as a sentence; its numbers are None where they are not finite."""
    mean, largest, rows = (distance[name] for name in ("mean", "largest", "rows"))
    if mean is None or largest is None:
        return f"Predictions of the two for {rows:,} holdout rows are not finite."
    return (
        f"Predictions of the two differ by {mean:.3g} on average and by {largest:.3g} at most, on"
        f" {rows:,} holdout rows."
    )
