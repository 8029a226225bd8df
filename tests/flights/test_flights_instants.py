"""Instants from clock times: red-eyes, midnight, daylight saving, distant and unlisted airports."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_tables import ZONES, Row, due, flight, real, tables, utc

from flights.features.instants import with_instants


def instant(row: Row, column: str) -> datetime | None:
    """The value of the column for a single flight."""
    raw = tables([row])
    minute = with_instants(raw["flights"], raw["airports"])[column].item()
    return None if minute is None else datetime.fromtimestamp(minute * 60, UTC)


def test_the_decision_is_two_hours_before_the_scheduled_departure() -> None:
    """A flight that departs shortly after midnight is decided on the previous evening."""
    assert instant(flight("2013-07-02 05:10"), "decided") == utc("2013-07-02 03:10")


def test_a_delay_past_midnight_departs_on_the_next_day() -> None:
    """Scheduled at 23:00 in New York and two hours late, it departs at 01:00 of the next day."""
    late = flight("2013-07-02 03:00", dep=120)
    assert (late["sched_dep_time"], late["dep_time"]) == (2300, 100)
    assert instant(late, "departed") == utc("2013-07-02 05:00")


def test_a_red_eye_lands_on_the_next_day() -> None:
    """Scheduled from New York at 23:59, due in San Juan at 04:40, half an hour early."""
    red_eye = flight("2013-01-16 04:59", dest="SJU", planned=221, arr=-30)
    assert (red_eye["sched_dep_time"], red_eye["sched_arr_time"]) == (2359, 440)
    assert instant(red_eye, "landed") == utc("2013-01-16 08:10")


def test_honolulu_is_eleven_hours_away() -> None:
    """Due at 15:30 in Honolulu on the day of departure, six hours behind New York."""
    far = flight("2013-07-01 14:00", dest="HNL", planned=690)
    assert far["sched_arr_time"] == 1530
    assert instant(far, "landed") == utc("2013-07-02 01:30")


@pytest.mark.parametrize("night", ["2013-03-10 05:30", "2013-11-03 04:30"])
def test_clocks_that_change_during_the_flight_do_not_move_the_arrival(night: str) -> None:
    """On both nights of 2013 on which clocks change, a flight of five hours lasts five hours."""
    assert instant(flight(night, planned=300), "due") == utc(night) + timedelta(hours=5)


def test_an_airport_without_a_time_zone_has_no_arrivals() -> None:
    """Where the zone is unknown, the departure is known and the arrival is not."""
    row = flight("2013-07-01 14:00", dest="XXX", dep=5)
    assert instant(row, "departed") == utc("2013-07-01 14:05")
    assert instant(row, "due") is None
    assert instant(row, "landed") is None


def test_no_flight_lands_before_it_departs() -> None:
    """Where the columns say so, the arrival is null."""
    row = flight("2013-07-01 14:00", planned=60, dep=90, arr=0)
    assert instant(row, "departed") == utc("2013-07-01 15:30")
    assert instant(row, "landed") is None


@settings(max_examples=80)
@given(
    minute=st.integers(0, 365 * 24 * 60),
    planned=st.integers(20, 1200),
    dest=st.sampled_from([*ZONES, "SJU"]),
)
def test_the_scheduled_arrival_is_recovered(minute: int, planned: int, dest: str) -> None:
    """Every scheduled arrival is recovered from its clock time.

    The exception is the hour that clocks show twice in autumn, which is ambiguous.
    """
    leaves = utc("2013-01-01 00:00") + timedelta(minutes=minute)
    arrives = leaves + timedelta(minutes=planned)
    local = arrives.astimezone(ZoneInfo((ZONES | {"SJU": "America/Puerto_Rico"})[dest]))
    assume(local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset())
    assert instant(flight(leaves, dest=dest, planned=planned), "due") == arrives


def test_real_arrivals_agree_with_an_independent_calendar() -> None:
    """On the weekend of the change to daylight saving, zoneinfo gives the same arrivals."""
    month = real("2013-03")
    weekend = month["flights"].filter(pl.col("day").is_between(9, 11))
    flights = with_instants(weekend, month["airports"])
    zones = dict(month["airports"].select("faa", "tzone").drop_nulls().iter_rows())
    expected = [
        due(*row, zones) for row in flights.select("time", "dest", "sched_arr_time").iter_rows()
    ]
    assert flights["due"].to_list() == [int(arrival.timestamp()) // 60 for arrival in expected]


def test_every_real_flight_taxis_for_a_sensible_time() -> None:
    """Arrival - departure - time in the air is 5 to 240 minutes, also where clocks changed."""
    for partition in ("2013-03", "2013-11"):
        month = real(partition)
        taxi = with_instants(month["flights"], month["airports"]).select(
            pl.col("landed") - pl.col("departed") - pl.col("air_time")
        )
        assert taxi.to_series().drop_nulls().is_between(5, 240).all()
