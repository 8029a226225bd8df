"""Sums over moving windows, and the latest event, of a group of events at a given minute.

Events are sorted once by (group, minute) and summed cumulatively. The sum over a window (t - w, t]
is the difference of two cumulative sums, whose positions are found by binary search. Polars'
join_asof at t and at t - w would give the same; in NumPy one sorted array serves every window. The
values are integers (minutes, counts), so the sums are exact: they do not depend on the order of
addition, on threads, or on where the data begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

GROUP = 2**32
"""Events are sorted by group * GROUP + minute, for minutes between -2**31 and 2**31."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """E events, sorted by (group, minute)."""

    positions: np.ndarray
    """(E,) int64, ascending: group * GROUP + minute of each event."""
    rows: np.ndarray
    """(E,) int64: the row of each event."""
    sums: Mapping[str, np.ndarray]
    """Name -> (E + 1,) int64: the sum of the values of the first 0, 1, ... E events."""

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
        return np.searchsorted(self.positions, _positions(group, minute), side="right")

    def _start(self, group: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.positions, group * GROUP - GROUP // 2)

    def _between(self, start: np.ndarray, end: np.ndarray) -> dict[str, np.ndarray]:
        return {name: total[end] - total[start] for name, total in self.sums.items()}


def timeline(group: np.ndarray, minute: pl.Series, values: Mapping[str, pl.Series]) -> Timeline:
    """Sort events. A row without a group (-1) or without a minute is not an event.

    Args:
        group: (N,) from `groups`.
        minute: when each event became known; null for never.
        values: integers to sum, by name; null counts as 0.
    """
    rows = np.flatnonzero(minute.is_not_null().to_numpy() & (group >= 0))
    positions = _positions(group[rows], minute.fill_null(0).to_numpy()[rows])
    order = np.argsort(positions, kind="stable")
    rows = rows[order]
    return Timeline(
        positions=positions[order],
        rows=rows,
        sums={name: _cumulative(value, rows) for name, value in values.items()},
    )


def groups(frame: pl.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    """The number of each row's group, (N,) int64; -1 where a column is null.

    Without columns all rows are in one group.
    """
    if not columns:
        return np.zeros(frame.height, dtype=np.int64)
    numbers = frame.select(pl.concat_str(columns, separator="\0").rank("dense").cast(pl.Int64))
    return numbers.to_series().fill_null(-1).to_numpy()


def ratio(total: np.ndarray, count: np.ndarray) -> pl.Series:
    """The quotients total / count; null where count is 0."""
    defined = count > 0
    quotients = np.divide(total, count, out=np.zeros(len(total)), where=defined)
    return pl.select(pl.when(pl.Series(defined)).then(pl.Series(quotients))).to_series()


def _cumulative(value: pl.Series, rows: np.ndarray) -> np.ndarray:
    return np.append(0, np.cumsum(value.cast(pl.Int64).fill_null(0).to_numpy()[rows]))


def _positions(group: np.ndarray, minute: np.ndarray) -> np.ndarray:
    positions: np.ndarray = group * GROUP + minute
    return positions
