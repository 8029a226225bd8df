"""Recent delays: mean delays and late shares of the flights known at the decision.

A departure and its delay are known from the minute of the departure, an arrival and its delay from
the minute of the arrival. A window of w hours at the decision time T holds the events of (T - w,
T]. It does not depend on the calendar day: for a flight just after midnight, a window of a day
holds the last 24 hours.
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
    """The columns whose values an event must share with the flight; none: all events."""
    hours: int
    of: tuple[str, ...]
    """delay (mean minutes), late (share) or, for landed, lost (mean delay added on the way)."""

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
    """HISTORY, the statistics at each flight's decision; null without events in the window.

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
