"""Servers that answer slowly, and connections that are half open: they take what is sent, never answer, and
no RST tells. Every kind of connection notices within its bound and goes on over a new one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from ferryman import Ferryman, StoreUnavailable, listener
from ferryman.worker import exchange
from ferryman.worker.inprocess import InProcessWorker
from tests.support.hand import Hand
from tests.support.server import RedisServer
from tests.support.waiting import wait_until
from tests.support.wire import Wire

TIMEOUT_S = 1.0
SLACK_S = 10.0
"""What a busy machine may add to a bound."""


@pytest.fixture
def wire(server: RedisServer) -> Iterator[Wire]:
    with Wire(server.unix_url) as made:
        yield made


@pytest.fixture
def app(wire: Wire, prefix: str) -> Iterator[Ferryman]:
    """An app behind the wire."""
    made = Ferryman(wire.url, prefix=prefix, timeout_s=TIMEOUT_S, patience_s=20.0, lease_s=8.0)
    made.task(queue="q", name="double", result_ttl=60)(double)
    yield made
    made.close()


def double(number: int) -> int:
    return 2 * number


def test_a_producer_gives_a_dead_connection_up_after_the_timeout(app: Ferryman, wire: Wire) -> None:
    task = app.tasks["double"]
    task.enqueue(1)
    assert wire.freeze() == 1
    began = time.monotonic()
    task.enqueue(2)
    assert TIMEOUT_S * 0.9 < time.monotonic() - began < TIMEOUT_S + SLACK_S
    assert app.queue("q").info().queued == 2


def test_so_does_one_on_an_event_loop(app: Ferryman, wire: Wire) -> None:
    async def play() -> float:
        task = app.tasks["double"]
        await asyncio.gather(*(task.aenqueue(number) for number in range(5)))
        wire.freeze()
        began = time.monotonic()
        await asyncio.gather(*(task.aenqueue(number) for number in range(5)))
        took_s = time.monotonic() - began
        await app.aclose()
        return took_s

    assert TIMEOUT_S * 0.9 < asyncio.run(play()) < TIMEOUT_S + SLACK_S
    assert app.queue("q").info().queued == 10


@pytest.mark.parametrize("face", ["sync", "async"])
def test_who_waits_for_a_result_hears_of_it_over_a_new_connection(
    face: str, app: Ferryman, wire: Wire, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_SILENCE_S", 0.5)
    monkeypatch.setattr(listener, "_LOOK_AGAIN_S", 1000.0)  # not found by looking, as it is otherwise
    job = app.tasks["double"].enqueue(2)
    hand = Hand(Ferryman(server.url, prefix=app.store.prefix), "q")
    found: list[Any] = []

    async def await_it() -> None:
        found.append(await job.aresult(60))
        await app.aclose()

    waits = (lambda: found.append(job.result(60))) if face == "sync" else (lambda: asyncio.run(await_it()))
    waiter = threading.Thread(target=waits, daemon=True)
    waiter.start()
    wait_until(lambda: hand.app.store.pool.command("PUBSUB", "NUMSUB", hand.keys.done)[1] == 1, 20)
    wire.freeze()
    began = time.monotonic()
    hand.take()
    hand.finish(job.local, 4)
    waiter.join(60)
    assert found == [4]
    assert time.monotonic() - began < 0.5 + 2 * TIMEOUT_S + SLACK_S


def test_a_worker_whose_every_connection_is_dead_goes_on_under_its_old_name(
    app: Ferryman, wire: Wire, server: RedisServer, record_property: Any
) -> None:
    near = Ferryman(server.url, prefix=app.store.prefix)
    task = near.task(queue="q", name="double", result_ttl=60)(double)
    with InProcessWorker(app, "q", threads=2) as worker:
        assert task.enqueue(1).result(20) == 2
        holder = worker.holder
        # Its bell, its exchange and its heart.
        assert wire.freeze() >= 3
        began = time.monotonic()
        assert task.enqueue(2).result(60) == 4
        took_s = time.monotonic() - began
        record_property("figure", f"a job ran {took_s:.1f} s after every connection of its worker had died")
        assert took_s < exchange.LOOK_S * 1.2 + 2 * TIMEOUT_S + SLACK_S
        lease_end = near.store.pool.command("ZSCORE", near.store.keys("q").workers, holder)
        assert lease_end is not None, "the heart has kept the lease"
        wait_until(
            lambda: near.store.pool.command("ZSCORE", near.store.keys("q").workers, holder) > lease_end, 20
        )
        assert worker.holder == holder
    assert near.queue("q").info().running == 0
    near.close()


def test_a_slow_server_makes_everything_slow_and_breaks_nothing(
    app: Ferryman, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.lag_s = TIMEOUT_S / 5
    jobs = app.tasks["double"].enqueue_many([(number,) for number in range(300)])
    with InProcessWorker(app, "q", threads=4) as worker:
        assert [job.result(60) for job in jobs[-3:]] == [594, 596, 598]
        holder = worker.holder
        wait_until(lambda: worker.done == 300, 60)
        assert worker.holder == holder
    assert "connection to it is dead" not in caplog.text
    info = app.queue("q").info()
    assert (info.queued, info.running, info.scheduled, info.dead) == (0, 0, 0, 0)


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_server_slower_than_the_timeout_is_unavailable_within_patience_and_then_works_again(
    face: str, wire: Wire, prefix: str, client: redis.Redis
) -> None:
    app = Ferryman(wire.url, prefix=prefix, timeout_s=0.3, patience_s=1.0)
    queue = app.queue("q")

    async def aenqueue() -> None:
        try:
            await queue.aenqueue("x:y", 1)
        finally:
            await app.aclose()

    def enqueue() -> None:
        if face == "async":
            asyncio.run(aenqueue())
        else:
            queue.enqueue("x:y", 1)

    enqueue()
    wire.lag_s = 1.5
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"[Tt]ime(d )?out"):
        enqueue()
    assert time.monotonic() - began < 1.0 + 2 * 0.3 + SLACK_S
    wire.lag_s = 0.0
    enqueue()
    # What was refused may have been carried out; it was not carried out twice.
    assert client.hlen(app.store.keys("q").jobs) in {2, 3}
    app.close()


# -- many ----------------------------------------------------------------------------------------------------


def test_two_hundred_threads_share_a_bounded_number_of_connections(wire: Wire, prefix: str) -> None:
    app = Ferryman(wire.url, prefix=prefix)
    task = app.task(queue="q", name="double")(double)
    barrier, errors = threading.Barrier(200), []

    def enqueue() -> None:
        try:
            barrier.wait(60)
            for number in range(5):
                task.enqueue(number)
        except Exception as error:  # noqa: BLE001 (the test's thread reports it)
            errors.append(error)

    threads = [threading.Thread(target=enqueue) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert wire.peak <= 64
    assert app.queue("q").info().queued == 1000
    app.close()


def test_two_thousand_coroutines_share_a_bounded_number_of_connections(wire: Wire, prefix: str) -> None:
    app = Ferryman(wire.url, prefix=prefix)
    task = app.task(queue="q", name="double")(double)

    async def play() -> None:
        await asyncio.gather(*(task.aenqueue(number) for number in range(2000)))
        await app.aclose()

    asyncio.run(play())
    assert wire.peak <= 64
    assert app.queue("q").info().queued == 2000
    app.close()


def test_a_server_at_its_limit_of_clients_is_named_and_used_again_when_there_is_room(prefix: str) -> None:
    with RedisServer(args=["--maxclients", "12"]) as small:
        app = Ferryman(small.url, prefix=prefix, patience_s=0.3, timeout_s=2.0)
        task = app.task(queue="q", name="double", result_ttl=60)(double)
        crowd: list[redis.Redis] = []
        try:
            while len(crowd) < 20:  # until the server takes no more
                guest = small.client()
                guest.ping()
                crowd.append(guest)
        except redis.RedisError:
            pass
        assert 5 <= len(crowd) < 20
        with pytest.raises(StoreUnavailable, match=r"max number of clients|maxclients"):
            task.enqueue(1)
        with pytest.raises(StoreUnavailable):
            asyncio.run(_once(app, task))
        worker = InProcessWorker(app, "q", threads=1).start()
        for guest in crowd:
            guest.close()
        patient = Ferryman(small.url, prefix=prefix, patience_s=20.0)
        job = patient.task(queue="q", name="double", result_ttl=60)(double).enqueue(3)
        assert job.result(60) == 6
        assert worker.stop()
        app.close()
        patient.close()


async def _once(app: Ferryman, task: Any) -> None:
    try:
        await task.aenqueue(1)
    finally:
        await app.aclose()
