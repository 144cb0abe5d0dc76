"""A worker when the way to Redis is bad: lost replies, dead connections, restarts, lapsed leases."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ferryman import Ferryman
from ferryman.store import transitions
from ferryman.worker.inprocess import InProcessWorker
from tests.support.proxy import Proxy, is_command, is_script
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A proxy in front of the shared server."""
    with Proxy(server.unix_url) as made:
        yield made


@pytest.fixture
def app(proxy: Proxy, server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    """The app as its worker sees it: through the proxy."""
    made = Ferryman(proxy.url, prefix=prefix, timeout_s=1.0, lease_s=5.0)
    yield made
    made.close()


@pytest.fixture
def outside(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    """The same app without the proxy, to enqueue and to look."""
    made = Ferryman(server.url, prefix=prefix)
    yield made
    made.close()


@pytest.mark.parametrize("script", ["fetch", "ack", "retry", "bury", "register", "release"])
@pytest.mark.parametrize("how", ["lose_reply", "refuse"])
def test_no_job_is_lost_or_run_twice_when_a_connection_breaks(
    app: Ferryman, outside: Ferryman, proxy: Proxy, script: str, how: str
) -> None:
    seen: list[int] = []

    @app.task(name="note", retry=None)
    def note(number: int) -> None:
        seen.append(number)
        if number == 7:
            raise ValueError("seven")
        if number == 8 and seen.count(8) == 1:
            from ferryman import Retry

            raise Retry(delay=0.01)

    app.task(name="note2")(lambda: None)
    note_outside = outside.task(name="note", retry=1)(note.fn)
    getattr(proxy, how)(is_script(script), skip=0 if script == "register" else 1, times=2)
    note_outside.options(retry=1).enqueue_many([(number,) for number in range(40)])
    with InProcessWorker(app, threads=2):
        note_outside.options(retry=1).enqueue_many([(number,) for number in range(40, 80)])
        wait_until(lambda: _is_empty(outside), 20)
    assert set(seen) == set(range(80))
    assert sorted(number for number in seen if number not in {7, 8}) == [
        n for n in range(80) if n not in {7, 8}
    ]
    assert (seen.count(7), seen.count(8)) == (2, 2)


def _is_empty(app: Ferryman) -> bool:
    info = app.queue("default").info()
    return not (info.queued or info.scheduled or info.running)


def test_a_connection_that_dies_silently_is_noticed(app: Ferryman, outside: Ferryman, proxy: Proxy) -> None:
    @app.task(name="one")
    def one() -> int:
        return 1

    there = outside.task(name="one")(one.fn)
    with InProcessWorker(app, threads=1):
        assert there.enqueue().result(5) == 1
        proxy.black_hole(is_command("EVALSHA"))
        assert there.enqueue().result(15) == 1


def test_a_worker_goes_on_after_its_scripts_were_flushed(outside: Ferryman) -> None:
    @outside.task
    def one() -> int:
        return 1

    with InProcessWorker(outside, threads=1):
        assert one.enqueue().result(5) == 1
        outside.store.pool.command("SCRIPT", "FLUSH")
        assert one.enqueue().result(5) == 1


def test_a_worker_goes_on_after_the_server_was_killed_and_came_back(prefix: str) -> None:
    ran: list[int] = []
    with RedisServer("valkey", aof=True, args=["--appendfsync", "always"]) as own:
        app = Ferryman(own.url, prefix=prefix, timeout_s=1.0)

        @app.task
        def note(number: int) -> None:
            ran.append(number)
            time.sleep(0.005)

        note.enqueue_many([(number,) for number in range(200)])
        with InProcessWorker(app, threads=2):
            wait_until(lambda: len(ran) > 20)
            own.kill()
            own.restart()
            wait_until(lambda: _is_empty(app), 30, ignoring=Exception)
        app.close()
    assert set(ran) == set(range(200))
    assert len(ran) == 200


def test_a_worker_that_lost_its_lease_is_refused_and_comes_back_under_a_new_name(outside: Ferryman) -> None:
    release, attempts = threading.Event(), []

    @outside.task(result_ttl=30)
    def long() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            release.wait(20)
            return 1
        return 2

    with InProcessWorker(outside, threads=2) as worker:
        job = long.enqueue()
        wait_until(lambda: attempts)
        before = worker.holder
        taken = outside.store.run(
            transitions.recover(
                outside.store.keys("default"), before, forced=True, limit=3, window_ms=1000, running=[]
            )
        )
        assert taken.moved == [job.local]
        assert job.result(15) == 2
        release.set()
        wait_until(lambda: worker.holder not in {"", before})
        time.sleep(0.2)  # the late answer must have its chance to be believed
        assert job.result(1) == 2
    assert len(attempts) == 2


def test_a_lapsed_holder_is_found_by_any_worker_and_its_jobs_run(outside: Ferryman) -> None:
    @outside.task
    def one() -> int:
        return 1

    keys = outside.store.keys("default")
    job = one.enqueue()
    outside.store.run(transitions.register(keys, "gone-1-abc", 50))
    outside.store.run(transitions.fetch(keys, "gone-1-abc", 10))
    assert job.state == "running"
    with InProcessWorker(outside):
        assert job.result(15) == 1
    assert outside.store.pool.command("SMEMBERS", keys.holders) == []
