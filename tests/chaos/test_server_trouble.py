"""The server goes away under load, forgets its scripts, hangs up on everybody, or is full."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman import Ferryman
from ferryman.errors import StoreFull, StoreUnavailable
from tests.chaos.jobs import Tasks
from tests.chaos.scene import CALM_S, Load, Scene
from tests.support import history as judge
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def lonely(own_server: RedisServer, prefix: str, tmp_path: Path) -> Iterator[Scene]:
    """A stage on a server of its own."""
    made = Scene(own_server.url, prefix, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_no_acknowledged_job_is_lost_when_the_server_restarts_under_load(
    lonely: Scene, own_server: RedisServer, how: str
) -> None:
    with lonely.fleet(processes=2, threads=4) as fleet:
        pids = set(fleet.worker_pids())
        with Load(lonely, lonely.tasks.work, lambda chance: (chance.uniform(1, 20),)) as load:
            for _ in range(3):
                lonely.wait_for_runs(100)
                getattr(own_server, how)()
                own_server.restart()
            lonely.wait_for_runs(100)
        lonely.wait_drained(fleet)
        assert set(fleet.worker_pids()) == pids, f"nobody had to be replaced\n{fleet.output()}"
        assert fleet.terminate() == 0, fleet.output()
    assert all(isinstance(error, StoreUnavailable) for error in load.refused), load.refused
    # A worker keeps what it has in hand while the server is away, and is believed when it is back.
    judge.assert_each_ran_once(lonely.history())
    assert lonely.leftovers() == []


def test_a_producer_that_runs_out_of_patience_says_so_and_a_later_call_succeeds(
    lonely: Scene, own_server: RedisServer, tmp_path: Path
) -> None:
    with contextlib.closing(Ferryman(own_server.url, prefix=lonely.prefix, patience_s=0.2)) as impatient:
        tasks = Tasks(impatient, tmp_path / "another history")
        work = tasks.work
        work.enqueue(1, 1)
        own_server.terminate()
        with pytest.raises(StoreUnavailable):
            work.enqueue(2, 1)
        own_server.restart()
        work.enqueue(3, 1)
        tasks.recorder.close()
    assert lonely.app.queue(lonely.queue).info().queued == 2


@pytest.mark.parametrize(
    "words",
    [("SCRIPT", "FLUSH"), ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")],
    ids=["scripts flushed", "connections killed"],
)
def test_nothing_is_lost_or_repeated_when_the_server_forgets_its_scripts_or_hangs_up(
    lonely: Scene, own_server: RedisServer, words: tuple[str, ...]
) -> None:
    with own_server.client() as enemy, lonely.fleet(processes=2, threads=4) as fleet:
        with Load(lonely, lonely.tasks.work, lambda chance: (chance.uniform(1, 20),)) as load:
            for _ in range(15):
                lonely.wait_for_runs(40)
                enemy.execute_command(*words)
        lonely.wait_drained(fleet)
        assert fleet.terminate() == 0, fleet.output()
    assert load.refused == [], "a producer repeats its call by itself"
    judge.assert_each_ran_once(lonely.history())
    assert lonely.leftovers() == []


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_full_server_refuses_producers_and_the_workers_go_on(
    kind: str, prefix: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "redis":
        request.getfixturevalue("redis_server_binary")
    with RedisServer("redis" if kind == "redis" else "valkey") as server, server.client() as admin:
        scene = Scene(server.url, prefix, tmp_path)
        admin.config_set("maxmemory-policy", "noeviction")
        with scene.fleet(processes=2, threads=4) as fleet:
            with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(1, 20),)) as load:
                scene.wait_for_runs(50)
                scene.enqueue(scene.tasks.unsteady, [()] * 50)
                scene.enqueue(scene.tasks.value, [(5,)] * 200)
                admin.config_set("maxmemory", "1mb")
                refused_at = len(load.refused)
                wait_until(lambda: len(load.refused) > refused_at + 3, CALM_S, "producers are refused")
                # With the door closed all that was inside is worked off: fetched, retried, acknowledged.
                scene.wait_drained(fleet)
                refused_at = len(load.refused)
                wait_until(lambda: len(load.refused) > refused_at, CALM_S, "they still are")
                admin.config_set("maxmemory", "0")
                scene.wait_for_runs(50)
            scene.wait_drained(fleet)
            assert all(isinstance(error, StoreFull) for error in load.refused), load.refused
            assert fleet.terminate() == 0, fleet.output()
        found = scene.history()
        unsteady = judge.charged(found)
        assert len(unsteady) == 50
        judge.assert_nothing_lost(found)
        assert not judge.repeated(found)
        assert scene.leftovers() == []
        scene.close()


def test_a_machine_that_dies_while_the_server_is_full_is_missed_all_the_same(
    lonely: Scene, own_server: RedisServer
) -> None:
    """What a worker says of itself for people to read finds no room then; lost workers are found."""
    with (
        own_server.client() as admin,
        lonely.fleet(lease_s=1, crash_limit=100) as doomed,
        lonely.fleet(lease_s=1, threads=1) as other,
    ):
        lonely.enqueue(lonely.tasks.work, [(400,)] * 8)
        lonely.wait_for_starts(5)
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", "1mb")
        lonely.kill(doomed, *doomed.pids())
        lonely.wait_drained(other)
        assert other.terminate() == 0, other.output()
        admin.config_set("maxmemory", "0")
    found = lonely.history()
    judge.assert_nothing_lost(found)
    assert not judge.unexplained(found)
