"""Random faults on several sides at once, drawn from a seed; and the faults that need a whole arena.

A failure prints its schedule and the smallest part of it that still fails. To see it again:
``FERRYMAN_CHAOS_SEED=<seed>``, or ``FERRYMAN_CHAOS_SCHEDULE='at 1.000s kill worker 0; ...'``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.arena import Arena
from tests.chaos.conftest import FIGURE
from tests.chaos.schedule import Schedule, chosen, draw, parse, shrink
from tests.support import history as judge

SHRINK_S = float(os.environ.get("FERRYMAN_CHAOS_SHRINK_S", "90"))
"""How long a failing schedule may be tried in parts; 0 shrinks nothing."""


def _drawn(seed: int) -> Schedule:
    return draw(seed, count=8, spread_s=7)


def _carry_out(schedule: Schedule, directory: Path, seed: int = 1) -> tuple[list[str], str]:
    """What went wrong, and the figures."""
    directory.mkdir()
    with Arena(directory, f"t-{secrets.token_hex(4)}") as arena:
        with arena.load(seed):
            arena.carry_out(schedule)
            arena.scene.wait_for_runs(30)
        arena.settle()
        found = arena.scene.history()
        again = len(judge.repeated(found))
        return (
            arena.problems(),
            f"{len(found.accepted)} jobs, {len(schedule)} faults, 0 lost, {again} ran again",
        )


@pytest.mark.timeout(300)  # of which a passing test needs some 20
@pytest.mark.parametrize("seed", [3, 14])
def test_whatever_happens_on_several_sides_at_once_no_job_is_lost_or_runs_again_without_cause(
    seed: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    schedule = chosen(_drawn, seed)
    trials = (tmp_path / str(number) for number in range(1000))
    try:
        problems, figures = _carry_out(schedule, next(trials), seed)
    except AssertionError as error:
        problems, figures = [str(error)], ""
    if problems:
        pytest.fail(_report(schedule, problems, trials))
    record_property(FIGURE, figures)


def _report(schedule: Schedule, problems: list[str], trials: Iterator[Path]) -> str:
    def fails(part: Schedule) -> bool:
        try:
            return bool(_carry_out(part, next(trials))[0])
        except AssertionError:
            return True

    minimal = shrink(schedule, fails, budget_s=SHRINK_S)
    told = "\n".join(problems)
    return f"{told}\n-- the schedule:\n{schedule}\n-- the smallest part that was seen to fail:\n{minimal}"


@pytest.mark.usefixtures("faketime")
def test_workers_whose_clocks_jump_by_days_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    jumps = parse(
        "at 0.2s jump clock 0 by +86400s; at 1.5s jump clock 1 by -86400s; at 2.8s jump clock 0 by -3600s;"
        "at 2.8s jump clock 1 by +3600s; after 150 runs jump clock 0 by -5s"
    )
    with Arena(tmp_path, f"t-{secrets.token_hex(4)}", processes=1, clocks=True) as arena:
        with arena.load(1):
            delayed = arena.scene.tasks.work.options(delay=2.0)
            arena.scene.enqueue(delayed, [(1,)] * 20)
            arena.carry_out(jumps)
            arena.scene.wait_for_runs(50)
        arena.settle()
        assert arena.problems() == []
        found = arena.scene.history()
        assert not judge.repeated(found)
        for number in range(1, 21):  # a delay is counted by the server's clock
            [run] = [run for run in found.runs if run.number == number]
            offered = min(found.accepted_ns)
            assert run.started_ns - offered > 1.9e9


def test_a_full_disk_loses_no_accepted_job(tmp_path: Path) -> None:
    """A server that is to sync every write ends rather than answer for what it cannot keep."""
    with Arena(tmp_path, f"t-{secrets.token_hex(4)}", processes=1) as arena:
        first = arena.server.pid
        with arena.load(1):
            arena.carry_out(parse("after 60 runs fill disk server for 1s"))
            assert arena.server.pid != first, "it ended, and was started when there was room"
            arena.scene.wait_for_runs(60)
        arena.settle()
        assert arena.problems() == []
