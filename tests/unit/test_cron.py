"""What cron expressions mean, what is wrong with one, and how they read in words."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, date, datetime, timedelta

import pytest

from ferryman.errors import InvalidOption
from ferryman.schedules.cron import parse
from ferryman.schedules.timetable import upcoming, zoned
from ferryman.schedules.words import describe_cron


def days(cron: str, count: int, after: str = "2026-04-01", name: str = "") -> list[str]:
    start = int(datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp() * 1000) - 1
    found = upcoming(zoned(parse(cron, name), "UTC"), start, count)
    return [f"{datetime.fromtimestamp(at / 1000, UTC):%m-%d %H:%M:%S}" for at in found]


def test_seconds_stand_first_of_six_fields() -> None:
    assert days("15 30 2 * * *", 1) == ["04-01 02:30:15"]
    assert days("*/20 * * * * *", 3) == ["04-01 00:00:00", "04-01 00:00:20", "04-01 00:00:40"]


@pytest.mark.parametrize(
    "cron, expected",
    [
        ("@yearly", "01-01 00:00:00"),
        ("@annually", "01-01 00:00:00"),
        ("@monthly", "04-01 00:00:00"),
        ("@weekly", "04-05 00:00:00"),
        ("@daily", "04-01 00:00:00"),
        ("@midnight", "04-01 00:00:00"),
        ("@hourly", "04-01 00:00:00"),
        ("@DAILY", "04-01 00:00:00"),
    ],
)
def test_words_with_an_at_sign_mean_what_they_mean_everywhere(cron: str, expected: str) -> None:
    # croniter hashes them as soon as it is given something to hash.
    assert days(cron, 1, name="any name") == [expected]


@pytest.mark.parametrize(
    "cron, expected",
    [
        ("0 0 L * *", ["04-30", "05-31", "06-30"]),
        ("0 0 * * L5", ["04-24", "05-29", "06-26"]),
        ("0 0 * * 5L", ["04-24", "05-29", "06-26"]),
        ("0 0 * * friL", ["04-24", "05-29", "06-26"]),
        ("0 0 * * fri#3", ["04-17", "05-15", "06-19"]),
        ("0 0 * * mon#1,fri#3", ["04-06", "04-17", "05-04"]),
        ("0 0 * * mon,fri#1", ["04-03", "04-06", "04-13"]),
        ("0 0 1 * fri#1", ["04-01", "04-03", "05-01"]),
        ("0 0 15 * L5", ["04-15", "04-24", "05-15"]),
        ("0 0 1,15 * 1", ["04-01", "04-06", "04-13"]),
        ("0 0 15W * *", ["04-15", "05-15", "06-15"]),
        ("0 0 15W * mon", ["04-06", "04-13", "04-15"]),
        ("0 0 31 * *", ["05-31", "07-31", "08-31"]),
        ("0 0 ? * sun", ["04-05", "04-12", "04-19"]),
        ("0 0 * * sat-mon", ["04-04", "04-05", "04-06"]),
        ("0 0 * * 7", ["04-05", "04-12", "04-19"]),
    ],
)
def test_days_of_the_month_and_of_the_week(cron: str, expected: list[str]) -> None:
    assert [found[:5] for found in days(cron, 3)] == expected


def test_the_29th_of_february_comes_every_four_years() -> None:
    table = zoned(parse("0 12 29 2 *"), "UTC")
    found = upcoming(table, 1_767_225_600_000, 2)
    assert [datetime.fromtimestamp(at / 1000, UTC).date() for at in found] == [
        date(2028, 2, 29), date(2032, 2, 29),
    ]  # fmt: skip


def test_h_is_the_same_for_one_name_and_spread_over_many() -> None:
    assert days("H H * * *", 1, name="billing") == days("H H * * *", 1, name="billing")
    found = {days("H H * * *", 1, name=f"schedule-{number}")[0] for number in range(50)}
    assert len(found) > 40
    quarters = [int(found[9:11]) for found in days("H/15 * * * *", 4, name="billing")]
    assert {later - earlier for earlier, later in itertools.pairwise(quarters)} == {15}


# -- what is wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cron, says",
    [
        ("61 2 * * *", "the minute field '61' is wrong: it takes 0 to 59"),
        ("0 25 * * *", "the hour field '25' is wrong: it takes 0 to 23"),
        ("0 2 32 * *", "the day of month field '32' is wrong"),
        ("0 2 * 13 *", "the month field '13' is wrong"),
        ("0 2 * foo *", "the month field 'foo' is wrong: it takes 1 to 12 or jan to dec"),
        ("0 2 * * 8", "the day of week field '8' is wrong"),
        ("0 2 * * fri#6", "the day of week field 'fri#6' is wrong"),
        ("77 0 2 * * *", "the second field '77' is wrong"),
        ("*/0 * * * *", "the minute field '*/0' is wrong"),
        ("1,,2 * * * *", "the minute field '1,,2' is wrong"),
        ("R * * * *", "R is random; H spreads load"),
        ("* * *", "has 3 fields: give five"),
        ("0 0 0 1 1 * 2026", "has 7 fields"),
        ("@reboot", "is none of @yearly"),
        ("0 0 30 2 *", "never fires: there is no such day (day of month '30', month '2')"),
        ("0 0 31 4,6 *", "never fires"),
        ("", "takes an expression of five fields"),
    ],
)
def test_what_is_wrong_is_said_of_the_field(cron: str, says: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse(cron)
    assert says in str(caught.value)


def test_threads_that_share_an_expression_do_not_move_each_other() -> None:
    cron = parse("*/5 * * * *")
    wrong: list[int] = []

    def work(start: int) -> None:
        for step in range(300):
            at = start + step * 300
            if cron.next_wall(at) != at + 300:
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(number * 86_400 * 30,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- in words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cron, words",
    [
        ("30 2 * * mon-fri", "at 02:30, Monday to Friday"),
        ("0 9,17 * * *", "at 09:00 and 17:00"),
        ("*/15 * * * *", "every 15 minutes"),
        ("* * * * *", "every minute"),
        ("5 * * * *", "at minute 5 of every hour"),
        ("0 */2 * * *", "at minute 0 of every 2 hours"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("15 30 2 * * *", "at 02:30:15"),
        ("0 0 L * *", "at 00:00, on the last day of the month"),
        ("0 0 1 1 *", "at 00:00, on day 1 of the month, in January"),
        ("0 0 * * fri#2", "at 00:00, the second Friday of the month"),
        ("0 0 * * 5L", "at 00:00, the last Friday of the month"),
        ("0 0 1,15 * 1", "at 00:00, on day 1 and 15 of the month or Monday"),
        ("0 0 15W * *", "at 00:00, on day 15 (the nearest weekday) of the month"),
        ("H H * * *", "at a minute derived from its name of an hour derived from its name"),
        ("@daily", "at 00:00"),
        ("0 6 * jan-mar,dec *", "at 06:00, in January to March and December"),
    ],
)
def test_an_expression_reads_in_words(cron: str, words: str) -> None:
    assert describe_cron(cron) == words


def test_a_year_of_daily_ticks_has_one_each_day() -> None:
    table = zoned(parse("0 3 * * *"), "UTC")
    found = upcoming(table, 1_767_225_600_000, 365)
    assert {later - earlier for earlier, later in itertools.pairwise(found)} == {
        timedelta(days=1) // timedelta(milliseconds=1)
    }
