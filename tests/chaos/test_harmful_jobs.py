"""Jobs that take their process down, or hang in every way there is, among neighbours that do no harm."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ferryman.errors import WorkerLost
from tests.chaos.scene import CALM_S, Load, Scene
from tests.support import history as judge
from tests.support.waiting import wait_until

TIMEOUT_S, KILL_AFTER_S = 0.5, 0.5  # the first stands in tests/chaos/jobs.py
GENEROUS_S = 6.0
"""On top of what was promised: a loaded machine may be slow, a lease of 60 s cannot be what helped."""


@pytest.mark.parametrize(
    "harm",
    [("segfault",), ("kill_itself",), ("leave", 0), ("leave", 1)],
    ids=lambda harm: "-".join(map(str, harm)),
)
def test_a_job_that_kills_its_process_again_and_again_is_dead_and_its_neighbours_finish(
    scene: Scene, harm: tuple[Any, ...]
) -> None:
    with scene.fleet(processes=2, threads=4, lease_s=60) as fleet:
        with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(1, 60),)):
            scene.wait_for_runs(30)
            poison = scene.enqueue_harm(*harm)
            wait_until(lambda: poison.state == "dead", CALM_S, lambda: fleet.output()[-3000:])
            scene.wait_for_runs(30)
        scene.wait_drained(fleet)
        info = poison.info()
        assert info.attempts[-1].outcome == "crashed"
        with pytest.raises(WorkerLost):
            scene.app.job(poison.id).result(1)
        assert scene.app.queue(scene.queue).info().dead == 1, "nobody else is dead"
        assert fleet.terminate() == 0, fleet.output()
    found = scene.history()
    assert len(found.runs_of(0)) == 3, "as often as the crash limit allows"
    judge.assert_nothing_lost(found)
    assert not judge.charged(found), "no neighbour has paid an attempt"
    pids = {run.pid for run in found.runs_of(0)}
    for number in judge.repeated(found) - {0}:
        assert {run.pid for run in found.runs_of(number)[:-1]} <= pids, "only who was beside it ran again"


@pytest.mark.parametrize(
    "harm,ends_softly",
    [
        ("spin", True),
        ("hang", True),
        ("sleep_in_c", False),
        ("hold_the_gil", False),
        ("block_the_loop", False),
    ],
)
def test_a_job_that_hangs_is_ended_in_time_and_its_neighbours_are_not_charged(
    scene: Scene, harm: str, ends_softly: bool
) -> None:
    with scene.fleet(processes=1, threads=4, lease_s=60, kill_after_s=KILL_AFTER_S) as fleet:
        with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(1, 60),)):
            scene.wait_for_runs(20)
            before = set(fleet.worker_pids())
            hung = scene.enqueue_harm(harm)
            wait_until(lambda: scene.history().runs_of(0), CALM_S, "it runs")
            began = scene.history().runs_of(0)[0].started_ns
            wait_until(lambda: hung.state == "dead", CALM_S, lambda: fleet.output()[-3000:])
            took_s = (time.monotonic_ns() - began) / 1e9
            scene.wait_for_runs(20)
        scene.wait_drained(fleet)
        assert took_s < TIMEOUT_S + (0.0 if ends_softly else KILL_AFTER_S) + GENEROUS_S
        record = hung.info().attempts[-1]
        assert record.outcome == "timeout"
        assert (set(fleet.worker_pids()) == before) == ends_softly, "a process is killed only if it must be"
        assert scene.app.queue(scene.queue).info().dead == 1
        assert scene.command("EXISTS", scene.keys.crashes) == 0, "nobody is suspected"
        assert fleet.terminate() == 0, fleet.output()
    found = scene.history()
    judge.assert_nothing_lost(found)
    assert not judge.charged(found)
    assert len(found.runs_of(0)) == 1
    if ends_softly:
        assert not judge.repeated(found)
    for number in judge.repeated(found):
        assert {run.pid for run in found.runs_of(number)[:-1]} <= before
