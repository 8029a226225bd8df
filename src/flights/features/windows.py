"""What was known of a group at a moment: sums over a moving window, and the latest event.

Events are sorted once by (group, minute) and summed cumulatively; a window (t - w, t] is then the
difference of two places found by binary search. This is join_asof at t and at t - w, in NumPy,
because one sorted array serves every window. The values are integers (minutes, counts), so the
sums are exact: they depend neither on the order of addition, nor on threads, nor on how far back
the data begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

GROUP = 2**32
"""A place in the order is group * GROUP + minute, for minutes between -2**31 and 2**31."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """E events in the order of (group, minute)."""

    places: np.ndarray
    """(E,) int64, ascending."""
    rows: np.ndarray
    """(E,) int64: the row that each event came from."""
    sums: Mapping[str, np.ndarray]
    """Name -> (E + 1,) int64: the sum of the values of all events before a place."""

    def window(self, group: np.ndarray, minute: np.ndarray, width: int) -> dict[str, np.ndarray]:
        """The sums over the events of the group in (minute - width, minute], each (N,)."""
        return self._between(self._end(group, minute - width), self._end(group, minute))

    def until(self, group: np.ndarray, minute: np.ndarray) -> dict[str, np.ndarray]:
        """The sums over all events of the group up to the minute, each (N,)."""
        return self._between(self._start(group), self._end(group, minute))

    def latest(self, group: np.ndarray, minute: np.ndarray) -> np.ndarray:
        """The row of the group's last event at or before the minute, (N,); -1 without one."""
        end = self._end(group, minute)
        rows = np.append(self.rows, -1)
        return np.where(end > self._start(group), rows[end - 1], -1)

    def _end(self, group: np.ndarray, minute: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.places, _places(group, minute), side="right")

    def _start(self, group: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.places, group * GROUP - GROUP // 2)

    def _between(self, start: np.ndarray, end: np.ndarray) -> dict[str, np.ndarray]:
        return {name: total[end] - total[start] for name, total in self.sums.items()}


def timeline(group: np.ndarray, minute: pl.Series, values: Mapping[str, pl.Series]) -> Timeline:
    """Put events in order; a row without a group (-1) or without a minute is no event.

    Args:
        group: (N,) from `groups`.
        minute: when each event became known, null for never.
        values: integers to sum, by name; null counts as nothing.
    """
    rows = np.flatnonzero(minute.is_not_null().to_numpy() & (group >= 0))
    places = _places(group[rows], minute.fill_null(0).to_numpy()[rows])
    order = np.argsort(places, kind="stable")
    rows = rows[order]
    return Timeline(
        places=places[order],
        rows=rows,
        sums={name: _cumulative(value, rows) for name, value in values.items()},
    )


def groups(frame: pl.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    """A number for each row's group, (N,) int64; -1 where a column is null.

    Without columns all rows are one group.
    """
    if not columns:
        return np.zeros(frame.height, dtype=np.int64)
    named = frame.select(pl.concat_str(columns, separator="\0").rank("dense").cast(pl.Int64))
    return named.to_series().fill_null(-1).to_numpy()


def ratio(total: np.ndarray, count: np.ndarray) -> pl.Series:
    """Quotients total / count, null where nothing was counted."""
    counted = count > 0
    share = np.divide(total, count, out=np.zeros(len(total)), where=counted)
    return pl.select(pl.when(pl.Series(counted)).then(pl.Series(share))).to_series()


def _cumulative(value: pl.Series, rows: np.ndarray) -> np.ndarray:
    return np.append(0, np.cumsum(value.cast(pl.Int64).fill_null(0).to_numpy()[rows]))


def _places(group: np.ndarray, minute: np.ndarray) -> np.ndarray:
    places: np.ndarray = group * GROUP + minute
    return places
