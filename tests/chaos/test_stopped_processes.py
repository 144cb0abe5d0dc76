"""SIGSTOP past the lease: others take over, and what wakes up again finds nothing its own any more."""

from __future__ import annotations

import signal

from tests.chaos.scene import CALM_S, Scene
from tests.support import history as judge
from tests.support.waiting import wait_until


def test_a_fleet_stopped_past_its_lease_is_replaced_refused_and_comes_back_under_a_new_name(
    scene: Scene,
) -> None:
    with scene.fleet(processes=2, threads=3, lease_s=1) as sleeper:
        jobs = scene.enqueue(scene.tasks.value, [(400,)] * 6)
        scene.wait_for_starts(6)
        sleeper.send_all(signal.SIGSTOP)
        sleepers = set(sleeper.worker_pids())
        names = scene.holders()
        begun = scene.history()
        assert {run.pid for run in begun.runs} == sleepers
        assert not begun.finished(), "they fell asleep in the middle of it"

        with scene.fleet(processes=1, threads=6, lease_s=1) as other:
            (taker,) = other.worker_pids()
            assert [job.result(CALM_S) for job in jobs] == [taker] * 6
            assert other.terminate() == 0, other.output()

        sleeper.send_all(signal.SIGCONT)
        wait_until(
            lambda: (
                len(scene.history().finished() & set(range(1, 7))) == 6
                and all(run.finished_ns is not None for run in scene.history().runs)
            ),
            CALM_S,
            "the sleepers end what they had begun",
        )
        wait_until(lambda: len(scene.holders()) == 2, CALM_S, lambda: f"they are back\n{sleeper.output()}")
        assert not scene.holders() & names, "under new names"
        assert set(sleeper.worker_pids()) == sleepers, "and nobody had to be replaced"

        # They speak to Redis again, so the late answers were sent or dropped by now; neither is believed.
        fresh = scene.enqueue(scene.tasks.value, [(20,)] * 20)
        assert {job.result(CALM_S) for job in fresh} <= sleepers
        assert [job.result(1) for job in jobs] == [taker] * 6
        assert [job.info().worker.rsplit("-", 2)[1] for job in jobs] == [str(taker)] * 6
        assert sleeper.terminate() == 0, sleeper.output()
        assert "has lost its lease" in sleeper.output()

    found = scene.history()
    judge.assert_nothing_lost(found)
    assert judge.repeated(found) == set(range(1, 7)), "only what was in the sleepers' hands ran twice"
    assert not judge.charged(found)
    assert _acknowledged(scene, "chaos:value") == 26
    assert scene.leftovers() == []


def _acknowledged(scene: Scene, task: str) -> int:
    """How many successes Redis has counted: it counts none that it refused."""
    stem = scene.keys.stem
    found = [scene.command("HGET", key, f"ok:{task}") for key in scene.command("KEYS", f"{stem}stats:*")]
    return sum(int(count or 0) for count in found)


def test_a_supervisor_that_is_stopped_again_and_again_goes_on_keeping_its_leases(scene: Scene) -> None:
    """Each time it is stopped for longer than its heart would have slept, and for less than a lease."""
    with scene.fleet(processes=1, lease_s=2) as fleet:
        [name] = scene.holders()

        def ends_ms() -> float:
            return float(scene.command("ZSCORE", scene.keys.workers, name) or 0)

        for _ in range(8):
            before = ends_ms()
            fleet.send(signal.SIGSTOP)
            scene.enqueue(scene.tasks.value, [(700,)])[0].result(CALM_S)
            fleet.send(signal.SIGCONT)
            wait_until(lambda: ends_ms() > before, CALM_S, lambda: f"the lease is kept\n{fleet.output()}")  # noqa: B023
        assert scene.holders() == {name}
        assert fleet.terminate() == 0, fleet.output()
    judge.assert_each_ran_once(scene.history())
    assert scene.leftovers() == []


def test_a_single_stopped_process_does_not_stop_the_others(scene: Scene) -> None:
    with scene.fleet(processes=2, threads=2, lease_s=1) as fleet:
        stopped, awake = sorted(scene.leased(fleet))
        fleet.send(signal.SIGSTOP, stopped)
        scene.enqueue(scene.tasks.work, [(5,)] * 200)
        scene.wait_drained(fleet)
        found = scene.history()
        assert {run.pid for run in found.runs if run.finished_ns is not None} == {awake}
        wait_until(lambda: len(scene.holders()) == 1, CALM_S, "its lease has lapsed")
        fleet.send(signal.SIGCONT, stopped)
        wait_until(lambda: scene.leased(fleet) == {stopped, awake}, CALM_S, "it is back")
        assert fleet.terminate() == 0, fleet.output()
    judge.assert_each_ran_once(scene.history())
    assert scene.leftovers() == []
