"""Cron expressions on both sides of clock changes: the written rules, and an independent judge of them."""

from __future__ import annotations

import itertools
import os
import random
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.errors import ConfigurationError
from ferryman.schedules import zones
from ferryman.schedules.cron import parse
from ferryman.schedules.timetable import between, latest, zoned
from tests.support.minute_walker import changes, walk
from tests.support.profiles import effort

YEARS = os.environ.get("FERRYMAN_SCHEDULE_YEARS", "2024-2027")
"""Which years of zone data the long walk covers: ``1971-2037`` takes some minutes."""
ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia",
    "America/Sao_Paulo", "Africa/Cairo",
)  # fmt: skip


def ticks(cron: str, zone: str, after: str, until: str) -> list[str]:
    """Local times with their offsets, after one local moment up to another."""
    info = ZoneInfo(zone)
    first, last = (datetime.fromisoformat(text).replace(tzinfo=info) for text in (after, until))
    found = between(zoned(parse(cron), zone), ms(first), ms(last))
    return [f"{datetime.fromtimestamp(at / 1000, info):%d %H:%M%z}" for at in found]


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


# -- a wall-clock time that does not exist runs once, right after the gap ------------------------------------


@pytest.mark.parametrize(
    "zone, day, cron, expected",
    [
        ("Europe/Berlin", "2026-03-29", "30 2 * * *", ["29 03:00+0200"]),
        ("America/New_York", "2026-03-08", "15 2 * * *", ["08 03:00-0400"]),
        ("Australia/Lord_Howe", "2026-10-04", "10 2 * * *", ["04 02:30+1100"]),
        ("Africa/Casablanca", "2026-03-22", "30 2 * * *", ["22 03:00+0100"]),
        ("America/Sao_Paulo", "2018-11-04", "0 0 * * *", ["04 01:00-0200"]),
    ],
)
def test_a_time_that_the_clock_skips_has_its_tick_right_after_the_gap(
    zone: str, day: str, cron: str, expected: list[str]
) -> None:
    before = (datetime.fromisoformat(day) - timedelta(minutes=1)).isoformat()
    assert ticks(cron, zone, before, f"{day}T23:59") == expected


def test_many_skipped_times_make_one_tick_and_none_beside_one_that_is_there_anyway() -> None:
    assert ticks("0,15,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00", "2026-03-29T23:59") == [
        "29 03:00+0200", "29 03:15+0200", "29 03:30+0200",
    ]  # fmt: skip


def test_a_day_that_a_zone_skipped_has_its_tick_at_the_start_of_the_next() -> None:
    assert ticks("30 2 * * *", "Pacific/Apia", "2011-12-28T12:00", "2012-01-01T12:00") == [
        "29 02:30-1000", "31 00:00+1400", "31 02:30+1400", "01 02:30+1400",
    ]  # fmt: skip
    assert ticks("0 9 30 12 *", "Pacific/Apia", "2011-01-01T00:00", "2012-12-31T00:00") == [
        "31 00:00+1400", "30 09:00+1400",
    ]  # fmt: skip


# -- one that exists twice runs once -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zone, day, cron, expected",
    [
        ("Europe/Berlin", "2026-10-25", "30 2 * * *", ["25 02:30+0200"]),
        ("America/New_York", "2026-11-01", "30 1 * * *", ["01 01:30-0400"]),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", ["05 01:45+1100"]),
        ("Africa/Casablanca", "2026-02-15", "30 2 * * *", ["15 02:30+0100"]),
        ("Pacific/Apia", "2012-04-01", "30 3 * * *", ["01 03:30+1400"]),
    ],
)
def test_a_time_that_comes_twice_has_its_tick_at_the_first(
    zone: str, day: str, cron: str, expected: list[str]
) -> None:
    before = (datetime.fromisoformat(day) - timedelta(minutes=1)).isoformat()
    assert ticks(cron, zone, before, f"{day}T23:59") == expected


def test_asked_between_the_two_the_second_is_not_given() -> None:
    zone = ZoneInfo("Europe/Berlin")
    after = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)  # 02:45 in summer time, 02:30 comes once more
    found = zoned(parse("30 2 * * *"), "Europe/Berlin").after(ms(after))
    assert found is not None
    assert datetime.fromtimestamp(found / 1000, zone).day == 26


# -- hourly and minutely jobs run on every real hour and minute ----------------------------------------------


@pytest.mark.parametrize(
    "zone, day",
    [
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("America/New_York", "2026-03-08"),
        ("America/New_York", "2026-11-01"),
        ("Africa/Casablanca", "2026-02-15"),
        ("Africa/Casablanca", "2026-03-22"),
        ("Pacific/Apia", "2011-12-31"),
    ],
)
@pytest.mark.parametrize("cron, minutes", [("30 * * * *", 60), ("* * * * *", 1), ("*/15 * * * *", 15)])
def test_every_real_hour_and_minute_has_its_tick(zone: str, day: str, cron: str, minutes: int) -> None:
    middle = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    found = list(between(zoned(parse(cron), zone), ms(middle) - 86_400_000, ms(middle) + 86_400_000))
    assert len(found) == 2880 / minutes
    assert {later - earlier for earlier, later in itertools.pairwise(found)} == {minutes * 60_000}


def test_a_shift_of_half_an_hour_leaves_no_hour_out() -> None:
    assert ticks("0 * * * *", "Australia/Lord_Howe", "2026-10-04T00:30", "2026-10-04T04:00") == [
        "04 01:00+1030", "04 02:30+1100", "04 03:00+1100", "04 04:00+1100",
    ]  # fmt: skip
    assert ticks("*/30 * * * *", "Australia/Lord_Howe", "2026-04-05T00:30", "2026-04-05T02:30") == [
        "05 01:00+1100", "05 01:30+1100", "05 01:30+1030", "05 02:00+1030", "05 02:30+1030",
    ]  # fmt: skip


# -- the judge -----------------------------------------------------------------------------------------------

_FIELDS = (
    st.sampled_from(["0", "30", "*", "*/15", "5,59", "10-20", "*/7"]),
    st.sampled_from(["*", "*/2", "*/3", "0", "1", "2", "3", "1,2", "0-3", "23", "1-23/2"]),
    st.sampled_from(["*", "*", "*", "1-7", "25-31", "15"]),
    st.sampled_from(["*", "*", "3,10", "1-6"]),
    st.sampled_from(["*", "*", "0", "1-5", "6,7"]),
)
EXPRESSIONS = st.tuples(*_FIELDS).map(" ".join)


def agree(cron: str, zone: str, start: datetime, end: datetime) -> None:
    expected = [ms(at) for at in walk(cron, ZoneInfo(zone), start, end)]
    table = zoned(parse(cron), zone)
    assert list(between(table, ms(start), ms(end))) == expected, (cron, zone, start)
    assert latest(table, ms(end), after_ms=ms(start), most=10_000) == expected
    assert latest(table, ms(end), after_ms=ms(start), most=2) == expected[-2:]


@pytest.mark.parametrize("zone", ZONES)
def test_around_every_change_of_the_clock_the_ticks_are_those_of_a_walk_through_its_minutes(
    zone: str,
) -> None:
    first, last = (int(year) for year in YEARS.split("-"))
    drawn = random.Random(f"{zone} {YEARS}")
    shapes = ("30 2 * * *", "0 0 * * *", "15 1,2,3 * * *", "0 */2 * * *", "*/30 * * * *", "45 * * * *")
    for at in changes(ZoneInfo(zone), first, last):
        start = at - timedelta(hours=27)
        for cron in drawn.sample(shapes, 3):
            agree(cron, zone, start, start + timedelta(hours=54))


@given(
    cron=EXPRESSIONS,
    zone=st.sampled_from(ZONES),
    day=st.dates(date(1980, 1, 1), date(2037, 1, 1)),
    minute=st.integers(0, 1439),
)
@effort(60, 2000)
def test_anywhere_in_the_years_the_ticks_are_those_of_a_walk_through_the_minutes(
    cron: str, zone: str, day: date, minute: int
) -> None:
    begin = datetime.combine(day, time(), UTC) + timedelta(minutes=minute)
    agree(cron, zone, begin, begin + timedelta(hours=30))


@given(cron=EXPRESSIONS, zone=st.sampled_from(ZONES), pick=st.integers(0, 1000))
@effort(150, 5000)
def test_near_a_change_of_the_clock_the_ticks_are_those_of_a_walk_through_the_minutes(
    cron: str, zone: str, pick: int
) -> None:
    known = list(_changes(zone))
    at = known[pick % len(known)]
    agree(cron, zone, at - timedelta(hours=5), at + timedelta(hours=5))


_known: dict[str, list[datetime]] = {}


def _changes(zone: str) -> list[datetime]:
    if zone not in _known:
        _known[zone] = list(changes(ZoneInfo(zone), 2008, 2020))
    return _known[zone]


# -- zones ---------------------------------------------------------------------------------------------------


def test_an_unknown_zone_is_refused_with_the_nearest_there_is() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'Europe/Berlin'"):
        zones.zone("Europe/Berln")
    with pytest.raises(ConfigurationError, match="did you mean 'America/New_York'"):
        zones.zone("New York")
    with pytest.raises(ConfigurationError, match=r"no time zone '\.\./\.\./etc/passwd'"):
        zones.zone("../../etc/passwd")


def test_stretches_begin_where_the_clock_changes() -> None:
    found = zones.stretches("Europe/Berlin", 1_774_000_000)
    first, second = next(found), next(found)
    assert (first.offset, second.offset) == (3600, 7200)
    assert first.end == second.start == 1_774_746_000  # 2026-03-29T01:00Z
