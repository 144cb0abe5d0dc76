"""A connection that breaks at the worst moment: after the server carried a step out, before anyone heard."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from ferryman import Ferryman, StoreUnavailable
from ferryman.store import Store, Transition, inspection, transitions
from ferryman.store.transitions import Kept, Later
from tests.support.proxy import Proxy, is_command, is_script
from tests.support.server import RedisServer
from tests.support.snapshot import Snapshot, assert_one_place, snapshot


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.unix_url) as running:
        yield running


@pytest.fixture
def app(proxy: Proxy, prefix: str) -> Iterator[Ferryman]:
    made = Ferryman(proxy.url, prefix=prefix, timeout_s=2.0, patience_s=3.0)
    made.task(name="note", queue="q")(note)
    yield made
    made.close()


@pytest.fixture
def direct(server: RedisServer, prefix: str) -> Iterator[Store]:
    """The same store without the proxy."""
    store = Store(server.url, prefix=prefix, timeout_s=5, patience_s=1)
    yield store
    store.close()


def note(number: int) -> None:
    """What the jobs would do."""


def state(client: redis.Redis, app: Ferryman) -> Snapshot:
    found = snapshot(client, app.store.keys("q"))
    assert_one_place(found)
    return found


FACES = ["sync", "async"]
FAULTS = ["refuse", "lose_reply"]


def call(face: str, target: Any, name: str, *args: Any) -> Any:
    """`target.name(...)` or, on an event loop of its own, `target.aname(...)`."""
    if face == "sync":
        return getattr(target, name)(*args)

    async def on_a_loop() -> Any:
        return await getattr(target, f"a{name}")(*args)

    return asyncio.run(on_a_loop())


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("times", [1, 3])
def test_an_enqueue_is_carried_out_exactly_once(
    face: str, fault: str, times: int, app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    struck = getattr(proxy, fault)(is_script("enqueue"), times=times)
    job = call(face, app.tasks["note"], "enqueue", 1)
    assert struck.struck == times
    assert state(client, app)["ready"] == [job.local.encode()]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "options", [{"priority": 5}, {"delay": 3600}, {"id": "mine"}, {"priority": -1, "delay": 9}]
)
def test_an_enqueue_with_options_is_carried_out_exactly_once(
    face: str, options: Any, app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    proxy.lose_reply(is_script("enqueue"))
    job = call(face, app.tasks["note"].options(**options), "enqueue", 1)
    found = state(client, app)
    assert list(found["jobs"]) == [job.local.encode()]
    assert found.get("seq", b"0") == (b"1" if "priority" in options else b"0")


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_bulk_enqueue_is_carried_out_exactly_once_and_in_order(
    face: str, fault: str, batch: int, app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    struck = getattr(proxy, fault)(is_script("enqueue"), skip=batch)
    jobs = call(face, app.tasks["note"], "enqueue_many", [(number,) for number in range(1200)])
    assert struck.struck == 1
    assert state(client, app)["ready"] == [job.local.encode() for job in reversed(jobs)]


def test_an_original_that_arrives_after_its_own_repetition_does_nothing(
    app: Ferryman, client: redis.Redis
) -> None:
    """A slow server may read the first connection's request last."""
    keys = app.store.keys("q")
    first = transitions.enqueue(keys, "lane", 1, ["a", b"body"])
    second = transitions.enqueue(keys, "lane", 2, ["b", b"body"])
    app.store.run(first)
    app.store.run(second)
    app.store.run(first)
    assert state(client, app)["ready"] == [b"b", b"a"]


def test_a_repetition_after_the_job_has_ended_does_not_bring_it_back(
    app: Ferryman, client: redis.Redis
) -> None:
    keys = app.store.keys("q")
    enqueue = transitions.enqueue(keys, "lane", 1, ["a", b"body"])
    app.store.run(enqueue)
    app.store.run(transitions.register(keys, "ada", 60_000))
    app.store.run(transitions.fetch(keys, "ada", 1))
    app.store.run(transitions.ack(keys, "ada", ["a"]))
    app.store.run(enqueue)
    assert "jobs" not in state(client, app)


@pytest.mark.parametrize("face", FACES)
def test_when_patience_is_over_the_error_says_so_and_the_next_call_works(
    face: str, proxy: Proxy, prefix: str, client: redis.Redis
) -> None:
    app = Ferryman(proxy.url, prefix=prefix, timeout_s=2.0, patience_s=0.2)
    task = app.task(name="note", queue="q")(note)
    task.enqueue(0)
    fault = proxy.refuse(times=1000)
    with pytest.raises(StoreUnavailable, match="cannot be used at the moment"):
        call(face, task, "enqueue", 1)
    assert fault.struck >= 2, "it was tried again while patience lasted"
    fault.times = 0
    call(face, task, "enqueue", 2)
    assert len(state(client, app)["ready"]) == 2
    app.close()


@pytest.mark.parametrize("face", FACES)
def test_the_first_call_of_a_process_is_as_patient_as_the_others(
    face: str, app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    """It also announces the queue and asks for the time; those are plain commands."""
    struck = proxy.refuse(is_command("SADD", "TIME"), times=4)
    call(face, app.tasks["note"], "enqueue", 1)
    assert struck.struck == 4
    assert len(state(client, app)["ready"]) == 1


@pytest.mark.parametrize("face", FACES)
def test_a_half_open_connection_is_given_up_after_the_timeout(
    face: str, proxy: Proxy, prefix: str, client: redis.Redis
) -> None:
    app = Ferryman(proxy.url, prefix=prefix, timeout_s=0.3, patience_s=3.0)
    task = app.task(name="note", queue="q")(note)
    proxy.black_hole(is_script("enqueue"))
    before = time.monotonic()
    call(face, task, "enqueue", 1)
    assert 0.3 <= time.monotonic() - before < 3.0
    assert len(state(client, app)["ready"]) == 1
    app.close()


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_cancel_whose_reply_is_lost_still_says_that_it_cancelled(
    face: str, fault: str, app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    job = app.tasks["note"].enqueue(1)
    struck = getattr(proxy, fault)(is_script("cancel"))
    assert call(face, job, "cancel") is True
    assert struck.struck == 1
    assert call(face, job, "cancel") is False
    assert "jobs" not in state(client, app)


# -- a worker's side, at the level of the store --------------------------------------------------------------


def hold(app: Ferryman, *locals_: str) -> Any:
    """A holder with those jobs in its hands."""
    keys = app.store.keys("q")
    jobs: list[str | bytes] = [word for local in locals_ for word in (local, b"body " + local.encode())]
    app.store.run(transitions.enqueue(keys, "lane", 1, jobs))
    app.store.run(transitions.register(keys, "ada", 60_000))
    return app.store.run(transitions.fetch(keys, "ada", len(locals_)))


def test_an_ack_whose_reply_is_lost_is_counted_once(app: Ferryman, proxy: Proxy, client: redis.Redis) -> None:
    keys = app.store.keys("q")
    hold(app, "a", "b")
    proxy.lose_reply(is_script("ack"))
    ack = transitions.ack(
        keys, "ada", ["a"], kept=[Kept("b", 60_000, b"result")], minute=7, counters=[("ok:note", 2)]
    )
    reply = app.store.run(ack)
    assert reply.refused == [b"b", b"a"], "the repetition finds them done"
    found = state(client, app)
    assert "jobs" not in found
    assert found["stats:7"] == {b"ok:note": b"2"}
    assert found["result:b"] == b"result"


def test_a_retry_whose_reply_is_lost_charges_one_attempt(
    app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    keys = app.store.keys("q")
    hold(app, "a")
    proxy.lose_reply(is_script("retry"))
    app.store.run(transitions.retry(keys, "ada", [Later("a", 60_000, 1, b"record")]))
    found = state(client, app)
    assert found["attempts:a"] == [b"record"]
    assert found["tries"] == {b"a": b"1"}


def test_a_fetch_is_never_repeated_and_reconciling_finds_what_it_took(
    app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    keys = app.store.keys("q")
    hold(app, "a")
    app.store.run(transitions.enqueue(keys, "lane", 2, ["b", b"body b", "c", b"body c"]))
    lost = proxy.lose_reply(is_script("fetch"), times=10)
    with pytest.raises(StoreUnavailable):
        app.store.run(transitions.fetch(keys, "ada", 1))
    assert lost.struck == 1
    found = app.store.run(transitions.reconcile(keys, "ada"))
    assert sorted(found.ids) == [b"a", b"b"]
    assert dict(zip(found.ids, found.envelopes, strict=True))[b"b"] == b"body b"
    assert state(client, app)["ready"] == [b"c"]


def test_a_pipeline_that_breaks_midway_leaves_no_reply_to_the_next_call(
    app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    keys = app.store.keys("q")
    hold(app, "a", "b")
    with app.store.pool.lane() as lane:
        steps: list[Transition[Any]] = [
            transitions.heartbeat(keys, ["ada"], 60_000),
            transitions.ack(keys, "ada", ["a"]),
            transitions.ack(keys, "ada", ["b"]),
        ]
        assert lane.pipeline(steps[:1]) == [([], [])]
        proxy.lose_reply(is_script("ack"))
        with pytest.raises(StoreUnavailable):
            lane.pipeline(steps)
        again = lane.pipeline(steps)
        assert again[0] == ([], [])
        assert again[1].refused == [b"a"]
        assert "jobs" not in state(client, app)


def test_a_pipeline_reports_an_error_in_its_place_and_goes_on(
    app: Ferryman, direct: Store, client: redis.Redis
) -> None:
    keys = app.store.keys("q")
    client.set(keys.dead, "not ours")
    client.script_flush()
    replies: list[Any] = []
    with direct.pool.lane() as lane:
        lane.pipeline([inspection.survey(direct.keys("other")), transitions.heartbeat(keys, ["ada"], 1)])
        client.script_flush()
        replies = lane.pipeline([inspection.survey(keys), transitions.heartbeat(keys, ["ada"], 1)])
        assert lane.command("ECHO", "in step") == b"in step"
    assert type(replies[0]).__name__ == "StoreCorrupt"
    assert replies[1] == (["ada"], [])


# -- calls that are broken off from outside ------------------------------------------------------------------


def test_a_coroutine_cancelled_in_the_middle_of_its_call_leaves_no_reply_to_the_next(
    app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    task = app.tasks["note"]

    async def story() -> None:
        await task.aenqueue(0)
        held = proxy.hold(is_script("enqueue"))
        call = asyncio.create_task(task.aenqueue(1))
        await asyncio.to_thread(held.reached.wait, 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        held.release.set()
        assert await app.store.apool.command("ECHO", "in step") == b"in step"
        await task.aenqueue(2)

    asyncio.run(story())
    assert len(state(client, app)["ready"]) == 3, "the server had the cancelled one already"


class TimeLimit(BaseException):
    """Stands for a task's soft time limit, which a worker raises in the task's thread."""


def test_a_thread_interrupted_in_the_middle_of_its_call_leaves_no_reply_to_the_next(
    app: Ferryman, proxy: Proxy, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a request and its reply, as an exception from another thread may strike anywhere."""
    task = app.tasks["note"]
    task.enqueue(0)
    lane = app.store.pool._free[-1]
    read, armed = lane._connection.read_response, threading.Event()

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if not armed.is_set():
            armed.set()
            raise TimeLimit
        return read(*args, **kwargs)

    monkeypatch.setattr(lane._connection, "read_response", interrupted)
    with pytest.raises(TimeLimit):
        task.enqueue(1)
    assert app.store.pool.command("ECHO", "in step") == b"in step"
    task.enqueue(2)
    assert len(state(client, app)["ready"]) == 3


@pytest.mark.parametrize("face", FACES)
def test_connections_that_all_broke_while_idle_are_replaced_without_a_word(
    face: str, app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    task = app.tasks["note"]
    call(face, task, "enqueue", 1)
    proxy.break_all()
    call(face, task, "enqueue", 2)
    assert len(state(client, app)["ready"]) == 2
    assert proxy.accepted >= 2


def test_whatever_breaks_and_how_often_every_job_is_there_once(
    app: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    """One call in five loses its request or its reply, and some new connections break as well."""
    task = app.tasks["note"]
    chance = random.Random(7)
    proxy.refuse(lambda command: command[0] == b"EVALSHA" and chance.random() < 0.1, times=10**9)
    proxy.lose_reply(lambda command: command[0] == b"EVALSHA" and chance.random() < 0.1, times=10**9)
    proxy.refuse(lambda _: chance.random() < 0.03, times=10**9)
    jobs = [task.enqueue(number) for number in range(60)]
    assert state(client, app)["ready"] == [job.local.encode() for job in reversed(jobs)]
