"""What was known of a group at a moment: sums over moving windows, and the latest event.

Events are sorted once by (group, minute) and summed cumulatively; a window (t - w, t] is then the
difference of two places found by binary search. Sums are of integers, so they are exact and do not
depend on the order of addition, on threads or on how far back the data begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

GROUP_SHIFT = 32
"""A place in the order is group << 32 | minute: both are below 2**31."""


def groups(frame: pl.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    """A number for each row's group, -1 where a column is null; without columns one group.

    Returns:
        (N,) int64.
    """
    if not columns:
        return np.zeros(frame.height, dtype=np.int64)
    named = frame.select(pl.concat_str(columns, separator="\0").cast(pl.Categorical).to_physical())
    return named.to_series().cast(pl.Int64).fill_null(-1).to_numpy()


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Events in the order of (group, minute)."""

    places: np.ndarray
    """(E,) int64, ascending."""
    rows: np.ndarray
    """(E,) int64: the row that each event came from."""
    sums: Mapping[str, np.ndarray]
    """Name -> (E + 1,) int64: the sum of the values of all events before a place."""

    def before(self, group: np.ndarray, minute: np.ndarray) -> np.ndarray:
        """How many events lie at or before the (group, minute) of each question, (N,)."""
        return np.searchsorted(self.places, _places(group, minute), side="right")

    def window(self, group: np.ndarray, minute: np.ndarray, width: int) -> dict[str, np.ndarray]:
        """The sums over the events of the group in (minute - width, minute], each (N,)."""
        end, start = self.before(group, minute), self.before(group, minute - width)
        return {name: total[end] - total[start] for name, total in self.sums.items()}

    def latest(self, group: np.ndarray, minute: np.ndarray) -> np.ndarray:
        """The row of the group's last event at or before the minute, -1 without one, (N,)."""
        end = self.before(group, minute)
        found = end > self.before(group, np.zeros_like(minute))
        return np.where(found, self.rows[np.maximum(end, 1) - 1] if self.rows.size else -1, -1)


def timeline(group: np.ndarray, minute: pl.Series, values: Mapping[str, pl.Series]) -> Timeline:
    """Put events in order; those without a group or a minute never happened.

    Args:
        group: (N,) from `groups`.
        minute: when each row's event became known, null for never.
        values: integers to sum, by name; null counts as nothing.
    """
    rows = np.flatnonzero(minute.is_not_null().to_numpy() & (group >= 0))
    places = _places(group[rows], minute.fill_null(0).to_numpy()[rows])
    order = np.argsort(places, kind="stable")
    rows = rows[order]
    return Timeline(
        places=places[order],
        rows=rows,
        sums={
            name: np.concatenate(([0], np.cumsum(value.cast(pl.Int64).fill_null(0).to_numpy()[rows])))
            for name, value in values.items()
        },
    )


def ratio(total: np.ndarray, count: np.ndarray) -> pl.Series:
    """total / count, null where nothing was counted."""
    share = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return pl.Series(share).fill_nan(None)


def _places(group: np.ndarray, minute: np.ndarray) -> np.ndarray:
    return (group << GROUP_SHIFT) | minute
