"""Waiting for results on a real server: woken, not polling; by threads, loops, forks; after a lost link."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from ferryman import Ferryman, Job, JobCancelled, JobFailed, ResultTimeout
from tests.support.hand import Hand
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

SOON_S = 2.0  # a waiter looks by itself every 5 s: whoever is quicker was woken


def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    made = Ferryman(server.url, prefix=prefix, timeout_s=5.0, patience_s=1.0)
    made.task(name="double", queue="q")(double)
    yield made
    made.close()


def subscribed(client: redis.Redis, app: Ferryman) -> bool:
    found: Any = client.pubsub_numsub(app.store.keys("q").done)
    return bool(found[0][1])


class Waiter(threading.Thread):
    """Waits for a job's end in a thread."""

    def __init__(self, job: Job[int]) -> None:
        super().__init__(daemon=True)
        self.job = job
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self.job.result(timeout=20)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.outcome = error

    def ended(self) -> Any:
        self.join(SOON_S)
        assert not self.is_alive(), "it was not woken"
        return self.outcome


def test_threads_that_wait_are_woken_each_with_its_own_result(app: Ferryman, client: redis.Redis) -> None:
    jobs: list[Job[int]] = app.tasks["double"].enqueue_many([(number,) for number in range(20)])
    waiters = [Waiter(job) for job in jobs]
    hand = Hand(app, "q")
    hand.take()
    wait_until(lambda: subscribed(client, app))
    for number, job in enumerate(jobs):
        hand.finish(job.local, 2 * number, task="double")
    assert [waiter.ended() for waiter in waiters] == [2 * number for number in range(20)]


def test_coroutines_and_threads_wait_together_over_one_connection(app: Ferryman, client: redis.Redis) -> None:
    jobs: list[Job[int]] = app.tasks["double"].enqueue_many([(number,) for number in range(4)])
    hand = Hand(app, "q")
    hand.take()
    waiters = [Waiter(job) for job in jobs[:2]]

    async def story() -> list[int]:
        calls = [asyncio.create_task(job.aresult(timeout=20)) for job in jobs[2:]]
        await asyncio.to_thread(wait_until, lambda: subscribed(client, app))
        await asyncio.to_thread(wait_until, lambda: sum(map(len, app.listener._waiters.values())) == 4)
        found: Any = client.pubsub_numsub(app.store.keys("q").done)
        assert found[0][1] == 1
        for job in jobs:
            hand.finish(job.local, 5, task="double")
        return list(await asyncio.wait_for(asyncio.gather(*calls), SOON_S))

    assert asyncio.run(story()) == [5, 5]
    assert [waiter.ended() for waiter in waiters] == [5, 5]
    assert app.listener._waiters == {}


def test_a_waiter_hears_of_a_death_and_of_a_cancellation(app: Ferryman, client: redis.Redis) -> None:
    dead, cancelled = app.tasks["double"].enqueue(1), app.tasks["double"].enqueue(2)
    waiters = [Waiter(dead), Waiter(cancelled)]
    wait_until(lambda: sum(map(len, app.listener._waiters.values())) == 2 and subscribed(client, app))
    hand = Hand(app, "q")
    hand.take(1)
    hand.bury(dead.local)
    assert cancelled.cancel()
    assert isinstance(waiters[0].ended(), JobFailed)
    assert isinstance(waiters[1].ended(), JobCancelled)


def test_a_listener_that_lost_its_connection_comes_back(app: Ferryman, client: redis.Redis) -> None:
    first, second = app.tasks["double"].enqueue(1), app.tasks["double"].enqueue(2)
    hand = Hand(app, "q")
    hand.take()
    waiters = [Waiter(first), Waiter(second)]
    wait_until(lambda: subscribed(client, app))
    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    hand.finish(first.local, 2, task="double")
    wait_until(lambda: subscribed(client, app))
    hand.finish(second.local, 4, task="double")
    assert [waiter.ended() for waiter in waiters] == [2, 4]


def test_a_timeout_is_kept_even_when_others_end_all_the_time(app: Ferryman) -> None:
    jobs: list[Job[int]] = app.tasks["double"].enqueue_many([(number,) for number in range(50)])
    hand = Hand(app, "q")
    hand.take()
    before = time.monotonic()
    with pytest.raises(ResultTimeout):
        jobs[0].result(timeout=0.2)
    assert time.monotonic() - before < SOON_S


def test_waiting_stops_with_its_coroutine(app: Ferryman) -> None:
    job = app.tasks["double"].enqueue(1)

    async def story() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job.aresult(), 0.1)

    asyncio.run(story())
    assert app.listener._waiters == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_waits_for_results_on_its_own(app: Ferryman, client: redis.Redis) -> None:
    first, second = app.tasks["double"].enqueue(1), app.tasks["double"].enqueue(2)
    hand = Hand(app, "q")
    hand.take()
    waiter = Waiter(first)
    wait_until(lambda: subscribed(client, app))
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if second.result(timeout=10) == 4 else 1)
        finally:
            os._exit(2)
    hand.finish(second.local, 4, task="double")
    assert os.waitpid(child, 0)[1] == 0
    hand.finish(first.local, 2, task="double")
    assert waiter.ended() == 2
