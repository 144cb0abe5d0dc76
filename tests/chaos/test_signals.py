"""Stopping a fleet under load, once and twice: what ran has ended, what waited waits again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ferryman.worker import exitcodes
from tests.chaos.scene import CALM_S, Load, Scene
from tests.support import history as judge
from tests.support.fleet import Fleet
from tests.support.waiting import wait_until


def _send(fleet: Fleet, number: signal.Signals) -> None:
    if number == signal.SIGINT:
        fleet.interrupt()  # as a terminal does it
    else:
        fleet.send(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.parametrize("kind", ["work", "awork"])
def test_a_fleet_stopped_under_load_ends_what_runs_and_gives_back_the_rest(
    scene: Scene, number: signal.Signals, kind: str
) -> None:
    task = getattr(scene.tasks, kind)
    with (
        Load(scene, task, lambda chance: (chance.uniform(1, 40),), backlog=200),
        scene.fleet(processes=2, threads=4, words=["--concurrency", "20"]) as first,
    ):
        scene.wait_for_runs(100)
        _send(first, number)
        assert first.end() == exitcodes.CLEAN, first.output()
        info = scene.app.queue(scene.queue).info()
        assert (info.running, info.workers) == (0, 0), first.output()
        assert all(run.finished_ns is not None for run in scene.history().runs), first.output()
    info = scene.app.queue(scene.queue).info()
    found = scene.history()
    # Each accepted job is either done or waits: to the last one.
    assert info.queued == len(found.accepted) - len(found.finished())
    with scene.fleet(processes=1, threads=4, words=["--burst"], ready=False) as second:
        assert second.end() == exitcodes.CLEAN, second.output()
    judge.assert_each_ran_once(scene.history())
    assert scene.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_second_signal_gives_back_what_runs_and_loses_nothing(
    scene: Scene, number: signal.Signals, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with scene.fleet(processes=2, threads=3) as first:
        scene.enqueue(scene.tasks.gated, [(str(gate),)] * 30)
        scene.wait_for_starts(6)  # one on every thread
        _send(first, number)
        wait_until(lambda: "drains" in first.output(), CALM_S)
        _send(first, number)
        assert first.end() == exitcodes.BROKEN_OFF, first.output()
    info = scene.app.queue(scene.queue).info()
    assert (info.queued, info.running, info.scheduled, info.dead) == (30, 0, 0, 0), first.output()
    assert not scene.history().finished()
    gate.touch()
    with scene.fleet(processes=1, threads=4, words=["--burst"], ready=False) as second:
        assert second.end() == exitcodes.CLEAN, second.output()
    found = scene.history()
    judge.assert_nothing_lost(found)
    assert not judge.charged(found), "a job that is given back keeps its attempt"
    assert len(judge.repeated(found)) == 6, "only what was running runs again"
    assert scene.leftovers() == []


def test_a_grace_that_ends_breaks_off_only_what_still_runs(scene: Scene, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with scene.fleet(processes=1, threads=4, words=["--grace", "0.5s"]) as first:
        scene.enqueue(scene.tasks.gated, [(str(gate),)] * 2)
        scene.wait_for_starts(2)
        stuck = {run.number for run in scene.history().runs}
        with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(1, 40),)):
            scene.wait_for_runs(50)
            first.send(signal.SIGTERM)
            assert first.end() == exitcodes.BROKEN_OFF, first.output()
    assert scene.app.queue(scene.queue).info().running == 0
    gate.touch()
    with scene.fleet(processes=1, threads=4, words=["--burst"], ready=False) as second:
        assert second.end() == exitcodes.CLEAN, second.output()
    judge.assert_each_ran_once(scene.history(), except_for=stuck)
    assert scene.leftovers() == []
