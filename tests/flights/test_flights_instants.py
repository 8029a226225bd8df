"""Instants from clock times: red-eyes, midnight, daylight saving, far and unlisted places."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_tables import ZONES, Row, due, flight, real, tables, utc

from flights.features.instants import with_instants


def happened(row: Row, column: str) -> datetime | None:
    """The instant that the column gives for a single flight."""
    given_tables = tables([row])
    minute = with_instants(given_tables["flights"], given_tables["airports"])[column].item()
    return None if minute is None else datetime.fromtimestamp(minute * 60, UTC)


def test_the_decision_is_two_hours_before_the_scheduled_departure() -> None:
    """A flight that leaves shortly after midnight is decided on the evening before."""
    assert happened(flight("2013-07-02 05:10"), "decided") == utc("2013-07-02 03:10")


def test_a_delay_past_midnight_departs_on_the_next_day() -> None:
    """Scheduled at 23:00 in New York, two hours late: gone at 01:00 of the next day."""
    late = flight("2013-07-02 03:00", dep=120)
    assert (late["sched_dep_time"], late["dep_time"]) == (2300, 100)
    assert happened(late, "departed") == utc("2013-07-02 05:00")


def test_a_red_eye_lands_on_the_next_day() -> None:
    """Scheduled 23:59 from New York, due at 03:40 in San Juan, half an hour early."""
    red_eye = flight("2013-01-16 04:59", dest="SJU", planned=221, arr=-30)
    assert (red_eye["sched_dep_time"], red_eye["sched_arr_time"]) == (2359, 440)
    assert happened(red_eye, "landed") == utc("2013-01-16 08:10")


def test_honolulu_is_eleven_hours_away() -> None:
    """Due at 15:30 in Honolulu on the day of departure, six hours behind New York."""
    far = flight("2013-07-01 14:00", dest="HNL", planned=690)
    assert far["sched_arr_time"] == 1530
    assert happened(far, "landed") == utc("2013-07-02 01:30")


@pytest.mark.parametrize("night", ["2013-03-10 05:30", "2013-11-03 04:30"])
def test_clocks_that_change_during_the_flight_do_not_move_the_arrival(night: str) -> None:
    """Both nights of 2013 on which clocks change: five hours in the air are five hours."""
    assert happened(flight(night, planned=300), "due") == utc(night) + timedelta(hours=5)


def test_a_place_without_a_time_zone_is_never_reached() -> None:
    """Where the zone is unknown the departure is known and the arrival is not."""
    row = flight("2013-07-01 14:00", dest="XXX", dep=5)
    assert happened(row, "departed") == utc("2013-07-01 14:05")
    assert happened(row, "due") is None
    assert happened(row, "landed") is None


def test_nobody_lands_before_departing() -> None:
    """Columns that say so are wrong somewhere; the flight is only seen to depart."""
    row = flight("2013-07-01 14:00", planned=60, dep=90, arr=0)
    assert happened(row, "departed") == utc("2013-07-01 15:30")
    assert happened(row, "landed") is None


@settings(max_examples=80)
@given(
    minute=st.integers(0, 365 * 24 * 60),
    planned=st.integers(20, 1200),
    dest=st.sampled_from([*ZONES, "SJU"]),
)
def test_the_scheduled_arrival_is_found_again(minute: int, planned: int, dest: str) -> None:
    """Written down as clock times and read back, every scheduled arrival is itself.

    But for the hour that the clocks show twice in autumn: nobody could tell which one is meant.
    """
    leaves = utc("2013-01-01 00:00") + timedelta(minutes=minute)
    arrives = leaves + timedelta(minutes=planned)
    local = arrives.astimezone(ZoneInfo((ZONES | {"SJU": "America/Puerto_Rico"})[dest]))
    assume(local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset())
    assert happened(flight(leaves, dest=dest, planned=planned), "due") == arrives


def test_real_arrivals_agree_with_an_independent_calendar() -> None:
    """The weekend of the change to daylight saving, each flight worked out with zoneinfo."""
    month = real("2013-03")
    weekend = month["flights"].filter(pl.col("day").is_between(9, 11))
    found = with_instants(weekend, month["airports"])
    zones = dict(month["airports"].select("faa", "tzone").drop_nulls().iter_rows())
    expected = [
        due(*row, zones) for row in found.select("time", "dest", "sched_arr_time").iter_rows()
    ]
    assert found["due"].to_list() == [int(instant.timestamp()) // 60 for instant in expected]


def test_every_real_flight_taxis_for_a_sensible_time() -> None:
    """Arrival - departure - time in the air is 5 to 240 minutes, also where clocks had changed."""
    for partition in ("2013-03", "2013-11"):
        month = real(partition)
        taxi = with_instants(month["flights"], month["airports"]).select(
            pl.col("landed") - pl.col("departed") - pl.col("air_time")
        )
        assert taxi.to_series().drop_nulls().is_between(5, 240).all()
