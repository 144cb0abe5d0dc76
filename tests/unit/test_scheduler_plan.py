"""What becomes of ticks that are due, late or missed."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman.scheduler.plan import MOST_LATE, plan
from ferryman.schedules.definition import Definition

MINUTE, HOUR = 60_000, 3_600_000
START = 1_767_225_600_000  # 2026-01-01T00:00Z


def every(ms: int, **policy: Any) -> Definition:
    return Definition(name="n", task="t", queue="q", every_ms=ms, **policy)


def test_a_tick_on_time_fires_alone() -> None:
    found = plan(every(HOUR), START, START + 5)
    assert (found.fire, found.made_up, found.missed) == ((START,), False, 0)
    assert (found.next_ms, found.last_ms) == (START + HOUR, START)


@pytest.mark.parametrize("misfire", ["skip", "run_once", "run_all"])
def test_within_the_grace_every_late_tick_fires_whatever_the_policy(misfire: str) -> None:
    found = plan(every(1000, misfire=misfire), START, START + 5500)
    assert list(found.fire) == [START + second * 1000 for second in range(6)]
    assert found.missed == 0
    assert found.next_ms == START + 6000


def test_run_once_makes_one_run_of_all_that_was_missed() -> None:
    found = plan(every(HOUR), START, START + 5 * HOUR + MINUTE // 2)
    assert list(found.fire) == [START + 5 * HOUR]
    assert found.made_up
    assert found.missed == 5
    assert found.next_ms == START + 6 * HOUR


def test_run_all_runs_the_latest_up_to_its_bound() -> None:
    found = plan(every(HOUR, misfire="run_all", catch_up=3), START, START + 9 * HOUR + 10 * MINUTE)
    assert list(found.fire) == [START + hour * HOUR for hour in (7, 8, 9)]
    assert found.missed == 7


def test_skip_runs_only_what_is_within_the_grace() -> None:
    gone = plan(every(HOUR, misfire="skip"), START, START + 5 * HOUR + 10 * MINUTE)
    assert list(gone.fire) == []
    assert gone.missed == 6
    assert gone.next_ms == START + 6 * HOUR
    caught = plan(every(HOUR, misfire="skip"), START, START + 5 * HOUR + MINUTE // 2)
    assert list(caught.fire) == [START + 5 * HOUR]
    assert caught.missed == 5


def test_the_grace_is_the_schedules_own() -> None:
    patient = plan(every(HOUR, misfire="skip", grace_ms=12 * HOUR), START, START + 5 * HOUR)
    assert len(patient.fire) == 6


def test_a_week_of_missed_seconds_is_planned_without_counting_them_all() -> None:
    found = plan(every(1000), START, START + 7 * 24 * HOUR)
    assert list(found.fire) == [START + 7 * 24 * HOUR]
    assert found.missed == MOST_LATE - 1


def test_a_one_off_that_was_missed_runs_late_and_is_over() -> None:
    once = Definition(name="n", task="t", queue="q", at_ms=(START,))
    found = plan(once, START, START + HOUR)
    assert list(found.fire) == [START]
    assert found.next_ms is None
