"""Fault schedules themselves: drawn, printed, replayed, shrunk."""

from __future__ import annotations

import pytest

from tests.chaos import schedule as schedules
from tests.chaos.schedule import SHAPES, Fault, Schedule, draw, parse, shrink


def test_a_seed_draws_the_same_schedule_and_another_seed_another() -> None:
    first = draw(7, count=20, spread_s=10)
    assert first == draw(7, count=20, spread_s=10)
    assert first != draw(8, count=20, spread_s=10)
    assert [fault.at_s for fault in first] == sorted(fault.at_s for fault in first)


def test_what_is_printed_can_be_replayed_for_every_kind_of_fault() -> None:
    drawn = draw(1, count=500, spread_s=100)
    assert {fault.what for fault in drawn} == SHAPES.keys()
    assert parse(str(drawn)) == drawn
    triggered = Fault("kill", "worker", 3, runs=40)
    assert str(triggered) == "after 40 runs kill worker 3"
    assert parse(f"  {triggered} ; # a remark\n\n at 1s flush scripts server") == Schedule(
        (triggered, Fault("flush scripts", "server", at_s=1.0))
    )


@pytest.mark.parametrize("text", ["kill worker 1", "at 1s tickle worker 1", "at 1s stop worker 1 for ever"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse(text)


def test_a_failing_schedule_is_shrunk_to_what_makes_it_fail() -> None:
    whole = draw(7, count=40, spread_s=10)
    guilty = {whole.faults[3], whole.faults[21], whole.faults[38]}
    trials = []

    def fails(part: Schedule) -> bool:
        trials.append(part)
        return guilty <= set(part)

    assert set(shrink(whole, fails, budget_s=60)) == guilty
    assert len(trials) < 100


def test_shrinking_ends_with_its_time_and_gives_what_it_has() -> None:
    whole = draw(7, count=16, spread_s=10)
    seconds = iter(range(1000))
    found = shrink(whole, lambda part: whole.faults[0] in part, budget_s=3, clock=lambda: next(seconds))
    assert len(found) < 16
    assert whole.faults[0] in found


def test_the_environment_says_which_schedule_to_carry_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(seed: int) -> Schedule:
        return draw(seed, count=3, spread_s=1)

    assert schedules.chosen(drawn, 5) == drawn(5)
    monkeypatch.setenv("FERRYMAN_CHAOS_SEED", "6")
    assert schedules.chosen(drawn, 5) == drawn(6)
    monkeypatch.setenv("FERRYMAN_CHAOS_SCHEDULE", str(drawn(9)))
    assert schedules.chosen(drawn, 5) == drawn(9)
