"""What a job costs Redis: commands while it travels, bytes while it waits, nothing when it is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman import Ferryman
from ferryman.store import transitions
from tests.support.hand import Hand
from tests.support.server import RedisServer
from tests.support.snapshot import limited_in_time, snapshot

JOBS = 5000


def note(number: int) -> None:
    """What the jobs would do."""


@pytest.fixture(scope="module")
def own_server(redis_server_binary: Path) -> Iterator[RedisServer]:
    with RedisServer("redis", args=["--maxmemory-policy", "noeviction"]) as running:
        yield running


@pytest.fixture
def app(own_server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    with own_server.client() as client:
        client.flushall()
    made = Ferryman(own_server.url, prefix=prefix)
    made.task(name="note", queue="q")(note)
    yield made
    made.close()


def commands(server: RedisServer) -> dict[str, int]:
    with server.client() as client:
        found: Any = client.info("commandstats")
        client.config_resetstat()
    return {name.removeprefix("cmdstat_"): stats["calls"] for name, stats in found.items()}


def used(server: RedisServer) -> int:
    with server.client() as client:
        found: Any = client.info("memory")
    return int(found["used_memory"])


def test_a_batch_costs_a_bounded_number_of_commands_however_many_jobs_it_has(
    app: Ferryman, own_server: RedisServer
) -> None:
    hand = Hand(app, "q")
    counted: dict[int, dict[str, int]] = {}
    for size in (1, 500):
        for _ in range(2):  # the first round loads scripts
            commands(own_server)
            app.tasks["note"].enqueue_many([(number,) for number in range(size)])
            ids = hand.fetch(size).ids
            hand.run(transitions.ack(hand.keys, "ada", ids, minute=1, counters=[("ok:note", size)]))
            counted[size] = commands(own_server)
    for ignored in ("info", "config|resetstat", "client|setinfo"):
        for found in counted.values():
            found.pop(ignored, None)
    assert counted[1] == counted[500]
    assert counted[500]["evalsha"] == 3
    assert sum(counted[500].values()) <= 45


def test_a_waiting_job_takes_little_memory_and_a_finished_one_none(
    app: Ferryman, own_server: RedisServer
) -> None:
    hand = Hand(app, "q")
    after = []
    for _ in range(3):  # the first round pays for buffers
        before = used(own_server)
        app.tasks["note"].enqueue_many([(number,) for number in range(JOBS)])
        waiting = (used(own_server) - before) / JOBS
        while ids := hand.fetch(500).ids:
            hand.run(transitions.ack(hand.keys, "ada", ids, minute=1, counters=[("ok:note", len(ids))]))
        after.append(used(own_server))
    assert waiting < 250
    assert after[-1] - after[-2] < JOBS, "less than a byte a job"
    hand.run(transitions.retire(hand.keys, "ada"))
    with own_server.client() as client:
        left = set(snapshot(client, hand.keys)) - limited_in_time(client, hand.keys)
    assert left <= {"bell"}


def test_jobs_that_failed_were_cancelled_purged_or_revived_leave_nothing_without_a_time_limit(
    app: Ferryman, own_server: RedisServer
) -> None:
    task, hand = app.tasks["note"], Hand(app, "q")
    jobs = task.options(priority=1).enqueue_many([(number,) for number in range(6)])
    for job in jobs:
        assert hand.take(1) == [job.local]
        hand.fail(job.local)
    jobs[0].cancel()
    for job in jobs[1:]:
        job.retry()
    for local in hand.take():
        hand.bury(local, number=2)
    jobs[1].cancel()
    jobs[2].retry()
    app.queue("q").purge("dead")
    hand.ack(*hand.take())
    waiting = task.enqueue(1)
    waiting.cancel()
    assert hand.take() == []
    hand.run(transitions.retire(hand.keys, "ada"))
    with own_server.client() as client:
        left = set(snapshot(client, hand.keys)) - limited_in_time(client, hand.keys)
    assert left <= {"bell", "seq", "failures"}


def test_counted_failures_have_a_bound(app: Ferryman, own_server: RedisServer) -> None:
    hand = Hand(app, "q")
    with own_server.client() as client:
        client.hset(hand.keys.failures, mapping={f"print {number}": 1 for number in range(2000)})
        (job,) = app.tasks["note"].enqueue_many([(1,)])
        hand.take()
        hand.bury(job.local)
        found: Any = client.hgetall(hand.keys.failures)
    assert 1900 <= len(found) <= 2000
    assert found[b"print"] == b"1", "the newest is kept"


@pytest.mark.parametrize("most,oldest_ms,left", [(3, 86_400_000, 3), (100, 1, 0)])
def test_dead_letters_are_capped_by_number_and_by_age(
    most: int, oldest_ms: int, left: int, app: Ferryman, own_server: RedisServer
) -> None:
    hand = Hand(app, "q")
    jobs = app.tasks["note"].enqueue_many([(number,) for number in range(10)])
    hand.take()
    with own_server.client() as client:
        for age, job in enumerate(jobs):
            hand.bury(job.local)
            client.zadd(hand.keys.dead, {job.local: 1000 + age})
            if left:
                client.zadd(hand.keys.dead, {job.local: 10**13 + age})
        hand.run(transitions.bury(hand.keys, "ada", [], minute=1, most=most, oldest_ms=oldest_ms))
        state = snapshot(client, hand.keys)
    assert [local.decode() for local in state.get("dead", {})] == [job.local for job in jobs[10 - left :]]
    assert len(state.get("jobs", {})) == len(state.get("tries", {})) == left
    assert sum(name.startswith("attempts:") for name in state) == left
