"""Features, compared with values computed by hand and by brute force."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tables import Row, Tables, flight, plane, real, tables, utc, weather

from flights.examples import ROLES, build
from flights.features.windows import groups, timeline

TIME = "2013-07-01 20:00"  # 16:00 in New York; decided at 18:00 UTC


def the_flight() -> Row:
    """The flight to predict: to Chicago, on time."""
    return flight(TIME, number=10, tail="N10")


def features(*others: Row, weathers: tuple[Row, ...] = (), subject: Row | None = None) -> Row:
    """The example of the flight at TIME, given these other flights."""
    subject = subject or the_flight()
    raw = tables([subject, *others], weathers, [plane("N10", year=2003, seats=150)])
    examples = build(raw).filter(
        pl.col("time") == subject["time"], pl.col("flight") == subject["flight"]
    )
    return examples.row(0, named=True)


def test_every_feature_computed_by_hand() -> None:
    """Every feature of one flight, given nine other flights."""
    others = (
        flight("2013-07-01 16:50", number=1, dep=20),  # left at 17:10
        flight("2013-07-01 17:00", number=2, dep=90),  # leaves at 18:30: in the queue, 60 minutes
        flight("2013-07-01 17:30", number=3, carrier="UA", dep=0),  # left at 17:30
        flight("2013-07-01 17:40", number=4, carrier="UA", dep=None),  # in the queue
        flight("2013-07-01 14:30", number=5, dep=None),  # overdue
        flight("2013-07-01 14:00", number=6, tail="N10", dep=30, arr=45),  # landed at 17:15
        flight("2013-07-01 17:00", number=7, origin="EWR", dep=1, dest="BOS"),  # left at 17:01
        flight("2013-06-30 20:00", number=10, tail="N99", dep=0, arr=-5),  # yesterday's
        flight("2013-07-01 19:00", number=8, dep=None),  # not yet its time
    )
    weathers = (
        weather("2013-07-01 14:00", pressure=1010.0),
        weather("2013-07-01 16:00", precip=0.1, temp=70),
        weather("2013-07-01 17:00", precip=0.1, temp=71, pressure=1012.5, visib=2, wind_gust=30),
        weather("2013-07-01 18:00", precip=0.9, temp=99),  # known at 19:00
    )
    assert features(*others, weathers=weathers) == {
        "time": utc(TIME),
        "carrier": "AA",
        "flight": 10,
        "origin": "JFK",
        "partition": "2013-07",
        "late": 0,
        "minute_of_day": 16 * 60,
        "weekday": 1,
        "planned_minutes": 150,
        "distance": 840,
        "departed_origin_1h_delay": (20 + 0) / 2,
        "departed_origin_1h_late": 1 / 2,
        "departed_origin_3h_delay": (20 + 0) / 2,
        "departed_origin_3h_late": 1 / 2,
        "departed_origin_1d_delay": (20 + 0 + 30 + 0) / 4,
        "departed_all_1h_late": 1 / 3,
        "departed_all_3h_late": 1 / 3,
        "departed_carrier_origin_3h_delay": 20,
        "departed_carrier_origin_3h_late": 1,
        "landed_all_1h_lost": 45 - 30,
        "landed_all_3h_lost": 45 - 30,
        "landed_origin_3h_lost": 45 - 30,
        "landed_dest_3h_delay": 45,
        "landed_dest_3h_lost": 45 - 30,
        "landed_dest_1d_delay": (45 - 5) / 2,
        "landed_carrier_1d_delay": (45 - 5) / 2,
        "landed_carrier_flight_7d_delay": -5,
        "landed_carrier_flight_28d_delay": -5,
        "landed_carrier_flight_28d_late": 0,
        "landed_origin_dest_28d_lost": (15 - 5) / 2,
        "queue_origin": 2,
        "queue_carrier_origin": 1,
        "queue_carrier_origin_waited": 60,
        "overdue_origin": 1,
        "scheduled_origin_1h": 2,
        "scheduled_origin_week_ago": 0,
        "leg_delay": 45,
        "leg_landed": 1,
        "leg_since": 210,
        "leg_slack": 15,
        "age": 10,
        "seats": 150,
        "temp": 71,
        "dewp": 40,
        "wind_dir": 0,
        "wind_speed": 0,
        "wind_gust": 30,
        "visib": 2,
        "precip": 0.1,
        "pressure": 1012.5,
        "pressure_3h": 2.5,
        "precip_6h": 0.2,
        "dest": "ORD",
        "manufacturer": "BOEING",
    }


def test_an_aircraft_still_in_the_air_is_seen_by_its_departure() -> None:
    """Before it has landed, the delay is that at departure, and it lands at the decision or later."""
    row = features(flight("2013-07-01 14:00", number=6, tail="N10", dep=60, arr=200))
    assert (row["leg_delay"], row["leg_landed"], row["leg_since"]) == (60, 0, 180)
    assert row["leg_slack"] == 120 - 150


def test_an_old_leg_is_ignored() -> None:
    """After a day all four features of the last leg are null."""
    row = features(flight("2013-06-30 17:00", number=6, tail="N10", dep=59, arr=0))
    assert [row[name] for name in ("leg_delay", "leg_landed", "leg_since", "leg_slack")] == [
        None
    ] * 4


@pytest.mark.parametrize(("when", "counted"), [("17:59", 1), ("18:00", 1), ("18:01", 0)])
def test_a_departure_counts_from_the_minute_of_the_decision(when: str, counted: int) -> None:
    """What happens in the minute of the decision is known; what happens a minute later is not."""
    row = features(flight(f"2013-07-01 {when}"))
    assert (row["departed_origin_1h_delay"] is not None) == bool(counted)


@pytest.mark.parametrize(("when", "counted"), [("17:01", 1), ("17:00", 0)])
def test_a_window_excludes_its_start(when: str, counted: int) -> None:
    """An event exactly one hour old is not in the window of one hour."""
    row = features(flight(f"2013-07-01 {when}"))
    assert (row["departed_origin_1h_delay"] is not None) == bool(counted)


@pytest.mark.parametrize(
    ("scheduled", "queued", "overdue"),
    [("17:59", 1, 0), ("15:01", 1, 0), ("15:00", 0, 1), ("06:01", 0, 1), ("06:00", 0, 0)],
)
def test_a_cancelled_flight_leaves_the_queue_in_time(
    scheduled: str, queued: int, overdue: int
) -> None:
    """It is queued for three hours, overdue until the twelfth, and then not counted."""
    row = features(flight(f"2013-07-01 {scheduled}", dep=None))
    assert (row["queue_origin"], row["overdue_origin"]) == (queued, overdue)


def test_the_busy_hour_is_counted_a_week_before() -> None:
    """Counted are departures of the origin within half an hour of the same time a week before."""
    times = ("2013-06-24 19:30", "2013-06-24 19:31", "2013-06-24 20:30", "2013-06-24 20:31")
    rows = [flight(time, number=20 + i, dep=None) for i, time in enumerate(times)]
    assert features(*rows)["scheduled_origin_week_ago"] == 2


def test_old_weather_is_missing() -> None:
    """An observation that has been known for three hours is null."""
    row = features(weathers=(weather("2013-07-01 14:00", precip=0.5),))
    assert row["temp"] is None
    assert row["precip_6h"] is None


def test_just_after_midnight_the_last_24_hours_count() -> None:
    """The features of a flight at 00:30 use events until 22:30 of the previous evening."""
    subject = flight("2013-07-02 04:30", number=10, tail="N10")
    before = flight("2013-07-02 02:20", number=1, dep=10, carrier="UA")  # left at 02:30: known
    after = flight("2013-07-02 02:20", number=2, dep=500, carrier="UA")
    assert features(before, after, subject=subject)["departed_origin_1d_delay"] == 10


def test_late_is_fifteen_minutes_at_arrival() -> None:
    """Fourteen minutes are on time, fifteen are late. Without an arrival there is no example."""
    minutes = (14, 15, None)
    rows = [flight(TIME, number=i, arr=arr) for i, arr in enumerate(minutes, 1)]
    assert build(tables(rows)).select("flight", "late").rows() == [(1, 0), (2, 1)]


def test_an_example_has_the_columns_of_the_roles() -> None:
    """Key, partition, target and features, with the right types, and no actual times."""
    examples = build(tables([the_flight()]))
    expected = {*ROLES.key, "partition", ROLES.target, *ROLES.features}
    assert set(examples.columns) == expected
    assert set(examples.select(ROLES.numeric).dtypes) == {pl.Float64}
    assert set(examples.select(ROLES.categorical).dtypes) == {pl.String}
    assert examples[ROLES.target].dtype == pl.Int8
    assert not {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"} & expected


def test_no_flights_make_no_examples() -> None:
    """Empty tables give an empty table with the same columns."""
    assert build(tables([])).schema == build(tables([the_flight()])).schema


@pytest.fixture(scope="module")
def january() -> Tables:
    """A real month."""
    return real("2013-01")


def test_a_later_month_changes_no_earlier_row(january: Tables) -> None:
    """January's examples are the same with and without February's flights and weather."""
    both = build(real("2013-01", "2013-02"))
    assert both.filter(pl.col("partition") == "2013-01").equals(build(january))


def test_every_key_names_one_example(january: Tables) -> None:
    """Every flight that arrived becomes exactly one example."""
    examples = build(january)
    assert not examples.select(ROLES.key).is_duplicated().any()
    assert examples.height == january["flights"]["arr_delay"].count()


def test_the_order_of_the_raw_rows_does_not_matter(january: Tables) -> None:
    """Shuffled raw tables give the same examples in the same order."""
    shuffled = {
        name: frame.sample(fraction=1, shuffle=True, seed=1) for name, frame in january.items()
    }
    assert build(shuffled).equals(build(january))


def test_missing_rows_only_thin_the_statistics(january: Tables) -> None:
    """With a tenth of all rows in quarantine, the other flights still become examples."""
    thinned = {name: frame.sample(fraction=0.9, seed=1) for name, frame in january.items()}
    assert build(thinned).height == thinned["flights"]["arr_delay"].count()


Event = tuple[str | None, int | None, int]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.integers(-9, 20) | st.none(),
        st.integers(-5, 5),
    )
)


@given(events=EVENTS, minute=st.integers(-9, 25), width=st.integers(1, 30))
def test_windows_agree_with_a_loop(events: list[Event], minute: int, width: int) -> None:
    """Window sums, sums up to a minute and the latest event agree with a loop over all events."""
    frame = pl.DataFrame(
        events, schema={"group": pl.String, "at": pl.Int64, "value": pl.Int64}, orient="row"
    )
    group = groups(frame, ("group",))
    line = timeline(group, frame["at"], {"value": frame["value"]})
    minutes = np.full(len(events), minute)
    in_window = line.window(group, minutes, width)["value"].tolist()
    up_to_minute = line.until(group, minutes)["value"].tolist()
    latest = line.latest(group, minutes).tolist()

    def of(name: str | None, chosen: Callable[[int], bool]) -> list[Event]:
        return [e for e in events if name and e[0] == name and e[1] is not None and chosen(e[1])]

    names = [name for name, _, _ in events]
    assert in_window == [
        sum(e[2] for e in of(name, lambda at: minute - width < at <= minute)) for name in names
    ]
    assert up_to_minute == [sum(e[2] for e in of(name, lambda at: at <= minute)) for name in names]
    for name, row in zip(names, latest, strict=True):
        past = of(name, lambda at: at <= minute)
        assert (row == -1) == (not past)
        if past:
            assert events[row] in past
            assert events[row][1] == max(at for _, at, _ in past if at is not None)
