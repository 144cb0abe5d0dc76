"""kill -9 under load: of a worker process, of the supervisor, of everything at once."""

from __future__ import annotations

import contextlib
import random
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.conftest import FIGURE
from tests.chaos.scene import CALM_S, Load, Scene, seed_of
from tests.support import history as judge
from tests.support.history import History
from tests.support.waiting import wait_until

SOON_MS = 5000.0
"""Generous: a loaded machine may take its time, a lapsed lease (15 s by default) may not be what saved us."""
CRASHES = 100  # the schedule may hit the same job more often than a poisonous job is allowed to


def short(chance: random.Random) -> tuple[float]:
    """Some milliseconds for one job."""
    return (chance.uniform(2, 40),)


def _judged(scene: Scene, context: str) -> History:
    found = scene.history()
    judge.assert_nothing_lost(found, context=context)
    unexplained = judge.unexplained(found)
    shown = [run for number in sorted(unexplained)[:3] for run in found.runs_of(number)]
    assert not unexplained, f"ran again without a kill that excuses it: {shown} {context}"
    assert not judge.charged(found), f"a crash burns no attempt: {judge.charged(found)} {context}"
    assert max(found.accepted.values()) == 1
    return found


@pytest.mark.parametrize("kind,seed", [("work", 1), ("work", 2), ("awork", 3)])
def test_a_worker_process_killed_again_and_again_loses_nothing_and_its_jobs_run_at_once(
    scene: Scene, kind: str, seed: int, record_property: Callable[[str, object], None]
) -> None:
    seed = seed_of(seed)
    chance = random.Random(seed)
    task = getattr(scene.tasks, kind)
    with scene.fleet(processes=3, threads=4, words=["--concurrency", "4"], crash_limit=CRASHES) as fleet:
        with Load(scene, task, short, seed=seed):
            for _ in range(5):
                scene.wait_for_runs(chance.randint(20, 150))
                victim = chance.choice(sorted(scene.leased(fleet)))
                scene.kill(fleet, victim)
                scene.wait_ready(fleet)
        scene.wait_drained(fleet)
        assert fleet.terminate() == 0, fleet.output()
    found = _judged(scene, f"(FERRYMAN_CHAOS_SEED={seed})")
    assert scene.leftovers() == []
    times = judge.recoveries_ms(found)
    assert max(times, default=0) < SOON_MS, f"given back late: {times} (FERRYMAN_CHAOS_SEED={seed})"
    record_property(FIGURE, _figures(found, times))


def _figures(found: History, times: list[float]) -> str:
    again = len(judge.repeated(found))
    text = f"{len(found.accepted)} jobs, {len(found.kills)} kills, 0 lost, {again} ran again"
    if times:
        text += (
            f"; first of them after {statistics.median(times):.0f} ms (median), {max(times):.0f} ms (most)"
        )
    return text


@pytest.mark.parametrize("seed", [11, 12])
def test_a_killed_supervisor_loses_nothing_and_another_fleet_takes_the_rest(scene: Scene, seed: int) -> None:
    seed = seed_of(seed)
    chance = random.Random(seed)
    with Load(scene, scene.tasks.work, short, seed=seed) as load:
        with scene.fleet(processes=2, threads=4, lease_s=2) as first:
            scene.wait_for_runs(chance.randint(20, 150))
            workers = first.worker_pids()
            scene.kill(first, first.pid)
            wait_until(lambda: not first.pids(), CALM_S, lambda: f"orphans have left\n{first.output()}")
            # They left in good order: what they had begun they finished, the rest they gave back.
            info = scene.app.queue(scene.queue).info()
            assert (info.running, info.workers) == (0, 0), first.output()
            before = scene.history()
            assert all(run.finished_ns is not None for run in before.runs), first.output()
            assert {run.pid for run in before.runs} <= set(workers)
        load.stop()
        with scene.fleet(processes=2, threads=4, lease_s=2) as second:
            scene.wait_drained(second)
            assert second.terminate() == 0, second.output()
    judge.assert_each_ran_once(scene.history(), context=f"(FERRYMAN_CHAOS_SEED={seed})")
    assert scene.leftovers() == []


@pytest.mark.parametrize("seed", [21, 22])
def test_a_machine_that_dies_whole_loses_nothing_once_its_lease_has_lapsed(
    scene: Scene, seed: int, record_property: Callable[[str, object], None]
) -> None:
    seed = seed_of(seed)
    chance = random.Random(seed)
    options: dict[str, Any] = {"processes": 2, "threads": 4, "lease_s": 2, "crash_limit": CRASHES}
    with contextlib.ExitStack() as fleets:
        with Load(scene, scene.tasks.work, short, seed=seed):
            for _ in range(3):
                machine = fleets.enter_context(scene.fleet(**options))
                scene.wait_for_runs(chance.randint(20, 150))
                scene.kill(machine, *machine.pids())
            last = fleets.enter_context(scene.fleet(**options))
            scene.wait_for_runs(50)
        scene.wait_drained(last)
        assert last.terminate() == 0, last.output()
    found = _judged(scene, f"(FERRYMAN_CHAOS_SEED={seed})")
    assert scene.leftovers() == []
    record_property(FIGURE, _figures(found, judge.recoveries_ms(found)) + ", lease 2 s")
