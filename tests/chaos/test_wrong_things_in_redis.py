"""What must not stop a queue: unreadable jobs, keys of another's. And what must stop a fleet, clearly."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.worker import exitcodes
from tests.chaos.scene import CALM_S, MODULE, Scene
from tests.support import history as judge
from tests.support.fleet import Fleet
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


def test_unreadable_and_unknown_jobs_among_good_ones_are_dead_and_the_good_ones_run(scene: Scene) -> None:
    scene.enqueue(scene.tasks.work, [(2,)] * 40)
    corrupt = [scene.enqueue_harm("spin") for _ in range(5)]
    for job, bytes_ in zip(corrupt, [b"", b"\xff", b"not msgpack", b"\x90", b"\xc1" * 1000], strict=True):
        scene.command("HSET", scene.keys.jobs, job.local, bytes_)
    unknown = [scene.app.queue(scene.queue).enqueue("nobody:knows", number) for number in range(5)]
    scene.enqueue(scene.tasks.work, [(2,)] * 40)
    with scene.fleet(processes=2, threads=2, unknown_task_limit=0) as fleet:
        scene.wait_drained(fleet)
        assert {job.state for job in corrupt + unknown} == {"dead"}
        assert "'nobody:knows'" in (unknown[0].info().error or "")
        assert fleet.terminate() == 0, fleet.output()
    for job in corrupt:
        assert f"{job.id} cannot be read" in fleet.output()
    judge.assert_each_ran_once(scene.history())


def test_a_key_of_the_wrong_type_stops_its_own_queue_only_and_says_so(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    scene = Scene(server.url, prefix, tmp_path)
    broken = scene.app.store.keys("broken")
    scene.command("SET", broken.ready, "somebody else's")
    with scene.fleet(queues="broken,default", processes=2, threads=2) as fleet:
        scene.enqueue(scene.tasks.work, [(2,)] * 100)
        scene.wait_drained(fleet)
        wait_until(lambda: "queue broken: " in fleet.output(), CALM_S, fleet.output)
        assert "WRONGTYPE" in fleet.output() or broken.ready in fleet.output()
        scene.command("DEL", broken.ready)
        scene.enqueue(scene.tasks.work.options(queue="broken"), [(2,)] * 20)
        wait_until(lambda: len(scene.history().finished()) == 120, CALM_S, "the queue works again")
        assert fleet.terminate() == 0, fleet.output()
    judge.assert_each_ran_once(scene.history())
    assert scene.leftovers() == []
    scene.close()


def test_a_held_set_that_somebody_deletes_costs_no_job_its_second_life(scene: Scene) -> None:
    """A worker that finds nothing held any more drops what has not begun; nothing is acknowledged twice."""
    with scene.fleet(processes=1, threads=2) as fleet:
        scene.enqueue(scene.tasks.value, [(300,)] * 2)
        scene.wait_for_starts(2)
        (holder,) = scene.holders()
        scene.command("DEL", scene.keys.held(holder))
        scene.enqueue(scene.tasks.work, [(2,)] * 20)
        wait_until(lambda: len(scene.history().finished()) == 22, CALM_S, fleet.output)
        assert fleet.terminate() == 0, fleet.output()
    assert "not ours any more" in fleet.output()
    judge.assert_each_ran_once(scene.history())


@pytest.mark.parametrize("password", ["", "wrong"], ids=["none", "wrong"])
def test_a_password_that_is_refused_ends_the_fleet_at_once_and_says_why(prefix: str, password: str) -> None:
    with RedisServer(tcp=True) as server, server.client() as admin:
        admin.config_set("requirepass", "correct")
        url = f"redis://:{password}@127.0.0.1:{server.port}" if password else server.url
        app = {"FERRYMAN_CHAOS_HISTORY": str(server.directory / "history")}
        with Fleet(url, prefix, MODULE, environment=app) as fleet:
            assert fleet.end() == exitcodes.STORE_REFUSED, fleet.output()
            said = fleet.output()
    assert f"127.0.0.1:{server.port}" in said
    assert "refused" in said.lower()
    assert "Traceback" not in said
    assert "wrong" not in said.replace("wrong password", ""), "the password itself is not shown"


def test_a_fleet_that_starts_before_its_server_waits_for_it(prefix: str, tmp_path: Path) -> None:
    with RedisServer() as server:
        server.kill()
        scene = Scene(server.url, prefix, tmp_path)
        with scene.fleet(processes=1, ready=False) as fleet:
            wait_until(lambda: "wait for it" in fleet.output(), CALM_S, fleet.output)
            server.restart()
            scene.enqueue(scene.tasks.work, [(2,)] * 10)
            scene.wait_drained(fleet)
            assert fleet.terminate() == 0, fleet.output()
        judge.assert_each_ran_once(scene.history())
        scene.close()
