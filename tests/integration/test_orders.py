"""Orders to workers that are at work: quiet, resume, stop, stacks; to one, to all, and from whom not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from ferryman import Ferryman, WorkerNotFound, orders
from ferryman.cli.program import app as program
from ferryman.worker import exitcodes
from ferryman.worker.inprocess import InProcessWorker
from tests.integration.worker_fleet import Fleet
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    """An app of this test's own on the shared server."""
    made = Ferryman(server.url, prefix=prefix, lease_s=4.0)
    yield made
    made.close()


def states(fleet: Fleet) -> dict[str, str]:
    """The processes by their place in the alphabet, and how they are."""
    return {note.id: note.state for note in fleet.app.workers()}


def wait_noted(fleet: Fleet, count: int) -> list[str]:
    """The names of so many processes, once they all have said something of themselves."""
    wait_until(lambda: len(states(fleet)) == count, 20, "all are noted")
    return sorted(states(fleet))


def test_a_fleet_is_told_to_be_quiet_and_to_resume(server: RedisServer, prefix: str) -> None:
    with Fleet(server.url, prefix, "-p", "2", "-t", "1", lease_s=8) as fleet:
        fleet.wait_ready(2)
        names = wait_noted(fleet, 2)
        answers = fleet.app.workers().quiet(timeout=20)
        assert sorted((one.worker, one.done) for one in answers) == [(name, True) for name in names]
        command, keys = fleet.app.store.pool.command, fleet.app.store.keys("default")
        wait_until(lambda: "no new jobs" in fleet.errors(), 10)
        job = fleet.tasks.nap.enqueue(0)
        answers = fleet.app.workers().stacks(timeout=20)
        assert all(one.done for one in answers), "so each has heard what was said before"
        assert command("LLEN", keys.ready) == 1
        assert all(one.done for one in fleet.app.workers().resume(timeout=20))
        assert job.result(20)


def test_one_process_is_stopped_for_good_and_the_supervisor_ends_with_the_last(
    server: RedisServer, prefix: str
) -> None:
    with Fleet(server.url, prefix, "-p", "2", "-t", "1", lease_s=8) as fleet:
        fleet.wait_ready(2)
        first, second = wait_noted(fleet, 2)
        assert [one.worker for one in fleet.app.workers().stop(first, timeout=20)] == [first]
        wait_until(lambda: fleet.leases() == {second}, 20)
        assert fleet.tasks.nap.enqueue(0).result(20)
        assert fleet.leases() == {second}, "it has no successor"
        assert [one.done for one in fleet.app.workers().stop(second, timeout=20)] == [True]
        code, _ = fleet.end()
        assert code == exitcodes.CLEAN


def test_a_whole_fleet_is_stopped_and_lets_running_jobs_end(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "1", "-t", "1") as fleet:
        fleet.wait_ready()
        wait_noted(fleet, 1)
        supervisor = next(iter(fleet.app.workers())).supervisor_id
        job = fleet.tasks.mark_and_nap.enqueue(str(log), 0.5)
        wait_until(log.exists, 20, "it runs")
        assert [one.done for one in fleet.app.workers().stop(supervisor, timeout=20)] == [True]
        assert job.result(20)
        assert fleet.end()[0] == exitcodes.CLEAN


def test_stacks_come_back_from_every_process_and_show_what_runs(server: RedisServer, prefix: str) -> None:
    with Fleet(server.url, prefix, "-p", "2", "-t", "1", lease_s=8) as fleet:
        fleet.wait_ready(2)
        names = wait_noted(fleet, 2)
        jobs = [fleet.tasks.nap.enqueue(30), fleet.tasks.anap.enqueue(30)]
        wait_until(lambda: all(job.state == "running" for job in jobs), 10)

        def shown() -> str:
            answers = fleet.app.workers().stacks(timeout=20)
            assert sorted(one.worker for one in answers if one.done) == names
            return "".join(one.text for one in answers)

        wait_until(lambda: all(job.id in shown() for job in jobs), 10)
        assert "time.sleep(seconds)" in shown()
        for job in jobs:
            job.cancel(running=True)


def test_an_order_is_carried_out_once_and_only_by_whom_it_names(app: Ferryman) -> None:
    keys, store = app.store.fleet_keys, app.store
    given = [orders.Order("1", "quiet", "ada", []), orders.Order("2", "stop", "bob", ["w"])]
    store.drive(orders.give(keys, given, store.server_ms()))
    assert 0 < store.pool.command("PTTL", keys.orders) <= orders.KEPT_MS
    assert store.drive(orders.take(keys, "ada")) == given[:1]
    assert store.drive(orders.take(keys, "ada")) == []
    assert store.drive(orders.take(keys, "bob")) == given[1:]
    store.drive(orders.give(keys, given[:1], store.server_ms() - orders.KEPT_MS - 1000))
    store.drive(orders.give(keys, given[1:], store.server_ms()))
    assert store.drive(orders.take(keys, "ada")) == [], "its minute is over"


def test_a_message_alone_orders_nothing(app: Ferryman) -> None:
    ran = threading.Event()
    app.task(name="ran")(ran.set)
    with InProcessWorker(app, threads=1):
        (note,) = wait_until(lambda: app.workers().notes(), 10)
        forged = orders.Order("1", "stop", note.supervisor_id, [])
        for message in (note.supervisor_id, note.id, json.dumps(forged.id), "stop"):
            app.store.pool.command("PUBLISH", app.store.fleet_keys.called, message)
        assert app.workers().stacks(timeout=10)[0].done, "the messages before were heard"
        app.queue("default").enqueue("ran")
        assert ran.wait(10), "it works on"


def test_a_worker_inside_a_program_takes_orders_too(app: Ferryman) -> None:
    @app.task(result_ttl=30)
    def one() -> int:
        return 1

    with InProcessWorker(app, threads=1) as worker:
        wait_until(lambda: app.workers().notes(), 10)
        assert asyncio.run(app.workers().aquiet(worker.holder, timeout=10))[0].done
        job = one.enqueue()
        assert "idle" in app.workers().stacks(timeout=10)[0].text
        assert job.state == "queued"
        assert asyncio.run(app.workers().aresume(timeout=10))[0].done
        assert job.result(10) == 1
        assert asyncio.run(app.workers().astop(timeout=10))[0].done
        assert worker.join(10)


def test_who_is_not_there_cannot_be_told_and_who_is_silent_is_named(app: Ferryman) -> None:
    assert app.workers().quiet() == []
    with pytest.raises(WorkerNotFound, match="nobody-1-aaaaaa"):
        app.workers().stop("nobody-1-aaaaaa")


def test_orders_survive_a_restart_of_the_server(prefix: str) -> None:
    with RedisServer(aof=True, args=["--appendfsync", "always"]) as server:
        app = Ferryman(server.url, prefix=prefix, lease_s=8.0, patience_s=10.0)
        with InProcessWorker(app, threads=1):
            wait_until(lambda: app.workers().notes(), 10)
            server.restart()
            assert app.workers().stacks(timeout=20)[0].done
        app.close()


def test_the_command_line_orders_and_reports(app: Ferryman, server: RedisServer, prefix: str) -> None:
    def run(*words: str) -> Any:
        return CliRunner().invoke(program, ["workers", *words, "--url", server.url, "--prefix", prefix])

    assert run("quiet").stdout == "No worker runs.\n"
    with InProcessWorker(app, threads=1) as worker:
        wait_until(lambda: app.workers().notes(), 10)
        assert run("quiet", "--timeout", "10").stdout == f"{worker.holder} takes no new jobs\n"
        assert run("resume", worker.holder, "--timeout", "10").stdout == f"{worker.holder} takes jobs again\n"
        (shown,) = json.loads(run("stacks", "--json", "--timeout", "10").stdout)
        assert (shown["worker"], shown["done"]) == (worker.holder, True)
        assert "idle threads" in shown["text"]
        assert "idle threads" in run("stacks", "--timeout", "10").stdout
        assert run("stop", "--timeout", "10").stdout == f"{worker.holder} drains\n"
        assert worker.join(10)


def test_a_user_who_may_only_read_and_publish_can_order_nothing(app: Ferryman) -> None:
    with RedisServer() as server, server.client() as admin:
        admin.execute_command(
            "ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", "+@read", "+@pubsub", "+ping"
        )
        reader = redis.Redis(unix_socket_path=str(server.socket_path), username="reader", password="secret")
        keys = app.store.fleet_keys
        reader.publish(keys.called, "ada")
        with pytest.raises(redis.exceptions.NoPermissionError):
            reader.zadd(keys.orders, {b"order": 1})
        with pytest.raises(redis.exceptions.NoPermissionError):
            reader.eval("return redis.call('HSET', KEYS[1], 'a', 'b')", 1, app.store.keys("q").cancels)
        reader.close()
