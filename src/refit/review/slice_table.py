"""The table of slices: the version's metric in each, and its gain over the rival there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.review import estimate, gain
from refit.review.estimate import Estimate
from refit.review.gain import Comparing
from refit.review.metric_table import REPORTED_AS, candidate_metrics, is_restricted
from refit.review.pair import Pair
from refit.review.stored import StoredVersion


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """A slice: the version's metric, and how much better it is than its rival there."""

    column: str
    value: str
    rows: int
    blocks: int
    small: bool
    metric: Estimate
    gain: Estimate


def rows(version: StoredVersion, pair: Pair | None, comparing: Comparing) -> tuple[SliceRow, ...]:
    """The slices of slices.json, each with the gain over the rival if both were scored.

    Args:
        version: under review.
        pair: the rows that both were scored on. If they are fewer than the holdout, each slice is
            measured on them alone.
        comparing: how to compare.
    """
    slices = version.slices
    if pair is not None and is_restricted(version, pair):
        slices = _restricted(version, pair)
    losses = None if pair is None else pair.row_losses(comparing.metric)
    shown = REPORTED_AS.get(comparing.metric, comparing.metric)
    return tuple(
        SliceRow(
            column=entry["slice"],
            value=entry["value"],
            rows=entry["rows"],
            blocks=entry["blocks"],
            small=entry["small"],
            metric=estimate.from_json(entry["metrics"].get(shown)),
            gain=_gain(pair, losses, entry, comparing),
        )
        for entry in slices
    )


def _restricted(version: StoredVersion, pair: Pair) -> Sequence[Mapping[str, Any]]:
    """The slices as slices.json has them, on the rows of the pair; empty ones are left out."""
    slices = []
    for entry in version.slices:
        inside = pair.in_slice(entry["slice"], entry["value"])
        if not inside.any():
            continue
        part = pair.only(inside)
        row_count, block_count = part.size
        measured = {
            "rows": row_count,
            "blocks": block_count,
            "small": entry["small"] or block_count < FEWEST_BLOCKS,
            "metrics": candidate_metrics(version, part),
        }
        slices.append({**entry, **measured})
    return slices


def _gain(
    pair: Pair | None, losses: np.ndarray | None, entry: Mapping[str, Any], comparing: Comparing
) -> Estimate:
    if pair is None or losses is None:
        return Estimate(value=None)
    inside = pair.in_slice(entry["slice"], entry["value"])
    if not inside.any():
        return Estimate(value=None)
    return gain.paired(losses[:, inside], pair.blocks[inside], comparing)
