"""How flights have fared lately: mean delays and late shares over what was known by the decision.

A departure is known from the minute it happens, and then its departure delay; an arrival likewise.
A window of w hours at the decision time T holds the events of (T - w, T] and no others, whatever
day it is: yesterday's statistics of a flight just after midnight are those of the last 24 hours,
not those of an unfinished calendar day.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from flights.windows import Timeline, groups, ratio, timeline

LATE = 15
"""Minutes from which a flight counts as late (the definition of the Bureau of Transportation)."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """Means over one kind of event, in one group, over one window."""

    event: Literal["departed", "landed"]
    by: tuple[str, ...]
    hours: int
    of: tuple[str, ...] = ("delay", "late")
    """Among: delay (mean minutes), late (share), count, and of arrivals air_time and lost."""

    @property
    def names(self) -> tuple[str, ...]:
        """The feature names, for example departed_origin_3h_delay."""
        group = "_".join(self.by) or "all"
        return tuple(f"{self.event}_{group}_{self.hours}h_{what}" for what in self.of)


STATISTICS = (
    Statistic(event="departed", by=("origin",), hours=1, of=("delay", "late", "count")),
    Statistic(event="departed", by=("origin",), hours=3, of=("delay", "late", "count")),
    Statistic(event="departed", by=("origin",), hours=24),
    Statistic(event="departed", by=(), hours=1),
    Statistic(event="departed", by=(), hours=3),
    Statistic(event="departed", by=("carrier", "origin"), hours=3),
    Statistic(event="departed", by=("carrier", "origin"), hours=24),
    Statistic(event="departed", by=("dest",), hours=3),
    Statistic(event="landed", by=(), hours=1, of=("delay", "late", "lost")),
    Statistic(event="landed", by=(), hours=3, of=("delay", "late", "lost")),
    Statistic(event="landed", by=("origin",), hours=3, of=("delay", "late", "lost")),
    Statistic(event="landed", by=("dest",), hours=3, of=("delay", "late", "lost")),
    Statistic(event="landed", by=("dest",), hours=24),
    Statistic(event="landed", by=("carrier",), hours=3),
    Statistic(event="landed", by=("carrier",), hours=24),
    Statistic(event="landed", by=("carrier",), hours=168),
    Statistic(event="landed", by=("origin",), hours=24),
    Statistic(event="landed", by=("origin",), hours=168),
    Statistic(event="landed", by=("carrier", "flight"), hours=168),
    Statistic(event="landed", by=("carrier", "flight"), hours=28 * 24),
    Statistic(event="landed", by=("origin", "dest"), hours=168, of=("delay", "late", "lost")),
    Statistic(event="landed", by=("origin", "dest"), hours=28 * 24, of=("delay", "late", "lost", "air_time")),
)


def history(flights: pl.DataFrame) -> pl.DataFrame:
    """The statistics at each flight's decision.

    Args:
        flights: with instants, see `flights.instants`.

    Returns:
        Float64 columns named by STATISTICS, a row for each flight; null where nothing happened.
    """
    decided = flights["decided"].to_numpy()
    lines: dict[tuple[str, tuple[str, ...]], Timeline] = {}
    columns: dict[str, pl.Series] = {}
    for statistic in STATISTICS:
        group = groups(flights, statistic.by)
        of = (statistic.event, statistic.by)
        if of not in lines:
            lines[of] = timeline(group, flights[statistic.event], _values(flights, statistic.event))
        sums = lines[of].window(group, decided, statistic.hours * 60)
        for what, name in zip(statistic.of, statistic.names, strict=True):
            columns[name] = (
                pl.Series(sums["count"], dtype=pl.Float64)
                if what == "count"
                else ratio(sums[what], sums["count"])
            )
    return pl.DataFrame(columns)


def _values(flights: pl.DataFrame, event: str) -> dict[str, pl.Series]:
    delay = flights["dep_delay" if event == "departed" else "arr_delay"]
    shared = {"count": pl.repeat(1, flights.height, eager=True), "delay": delay, "late": delay >= LATE}
    if event == "departed":
        return shared
    lost = flights["arr_delay"] - flights["dep_delay"]
    return shared | {"lost": lost, "air_time": flights["air_time"]}
