"""How flights have fared lately: mean delays and late shares of what was known at the decision.

A departure is known from the minute in which it happens, and its departure delay with it; an
arrival likewise. A window of w hours at the decision time T holds the events of (T - w, T] and no
others, whatever day it is: the statistics of the day before a flight just after midnight are those
of the last 24 hours, not those of a calendar day that had not ended.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from flights.clock import HOUR
from flights.features.windows import Timeline, groups, ratio, timeline

LATE = 15
"""Minutes of delay from which a flight is late (the definition of the US Bureau of
Transportation Statistics)."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """Means over one kind of event in one group and one window."""

    event: str
    """departed or landed."""
    by: tuple[str, ...] = ()
    """The columns that a flight must share with the row; none: all flights."""
    hours: int
    of: tuple[str, ...]
    """Among delay (mean minutes), late (share) and, of landed, lost (mean minutes on the way)."""

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, for example departed_origin_3h_late."""
        group = "_".join(self.by) or "all"
        window = f"{self.hours}h" if self.hours % 24 else f"{self.hours // 24}d"
        return tuple(f"{self.event}_{group}_{window}_{what}" for what in self.of)


STATISTICS = (
    Statistic(event="departed", by=("origin",), hours=1, of=("delay", "late")),
    Statistic(event="departed", by=("origin",), hours=3, of=("delay", "late")),
    Statistic(event="departed", by=("origin",), hours=24, of=("delay",)),
    Statistic(event="departed", hours=1, of=("late",)),
    Statistic(event="departed", hours=3, of=("late",)),
    Statistic(event="departed", by=("carrier", "origin"), hours=3, of=("delay", "late")),
    Statistic(event="landed", hours=1, of=("lost",)),
    Statistic(event="landed", hours=3, of=("lost",)),
    Statistic(event="landed", by=("origin",), hours=3, of=("lost",)),
    Statistic(event="landed", by=("dest",), hours=3, of=("delay", "lost")),
    Statistic(event="landed", by=("dest",), hours=24, of=("delay",)),
    Statistic(event="landed", by=("carrier",), hours=24, of=("delay",)),
    Statistic(event="landed", by=("carrier", "flight"), hours=7 * 24, of=("delay",)),
    Statistic(event="landed", by=("carrier", "flight"), hours=28 * 24, of=("delay", "late")),
    Statistic(event="landed", by=("origin", "dest"), hours=28 * 24, of=("lost",)),
)

HISTORY = tuple(name for statistic in STATISTICS for name in statistic.names)


def history(flights: pl.DataFrame) -> pl.DataFrame:
    """The statistics at each flight's decision: HISTORY, null where nothing had happened.

    Args:
        flights: with instants, see `flights.features.instants`.
    """
    decided = flights["decided"].to_numpy()
    lines: dict[tuple[str, tuple[str, ...]], tuple[np.ndarray, Timeline]] = {}
    columns: dict[str, pl.Series] = {}
    for statistic in STATISTICS:
        events = (statistic.event, statistic.by)
        if events not in lines:
            lines[events] = _line(flights, *events)
        group, line = lines[events]
        sums = line.window(group, decided, statistic.hours * HOUR)
        for name, what in zip(statistic.names, statistic.of, strict=True):
            columns[name] = ratio(sums[what], sums["count"])
    return pl.DataFrame(columns)


def _line(flights: pl.DataFrame, event: str, by: tuple[str, ...]) -> tuple[np.ndarray, Timeline]:
    group = groups(flights, by)
    delay = flights["dep_delay" if event == "departed" else "arr_delay"]
    values = {
        "count": delay.is_not_null(),
        "delay": delay,
        "late": delay >= LATE,
        "lost": flights["arr_delay"] - flights["dep_delay"],
    }
    if event == "departed":
        del values["lost"]
    return group, timeline(group, flights[event], values)
