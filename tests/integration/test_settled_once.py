"""What a holder settles is carried out once: whenever the original arrives, whatever the ids mean by then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from ferryman import Ferryman, Retry
from ferryman.errors import StoreCorrupt, StoreUnavailable
from ferryman.store import Link, Store, Transition, inspection, transitions
from ferryman.store.keys import QueueKeys
from ferryman.store.transitions import Burial, Later
from ferryman.worker.inprocess import InProcessWorker
from ferryman.worker.lanes import Lanes
from tests.support.proxy import Command, Proxy, is_script
from tests.support.server import RedisServer
from tests.support.snapshot import assert_one_place, limited_in_time, snapshot
from tests.support.waiting import wait_until

# -- the scripts ---------------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[QueueKeys], Transition[Any]]] = {
    "ack": lambda keys: transitions.ack(keys, "ada", ["mine"], minute=1, counters=[("ok:task", 1)]),
    "retry": lambda keys: transitions.retry(keys, "ada", [Later("mine", 0, 1, b"record")]),
    "snooze": lambda keys: transitions.snooze(keys, "ada", [Later("mine", 0, 0)]),
    "bury": lambda keys: transitions.bury(
        keys, "ada", [Burial("mine", 1, b"record", "print", "task")], minute=1, most=9, oldest_ms=60_000
    ),
    "release": lambda keys: transitions.release(keys, "ada", ["mine"]),
}


@pytest.fixture
def store(server: RedisServer, prefix: str) -> Iterator[Store]:
    made = Store(server.url, prefix=prefix, timeout_s=5, patience_s=1)
    yield made
    made.close()


def enqueue(store: Store, keys: QueueKeys, lane: str) -> None:
    assert store.run(transitions.enqueue(keys, lane, 1, ["mine", b"body"], chosen=True)).created == 1


def fetch(store: Store, keys: QueueKeys) -> None:
    assert store.run(transitions.fetch(keys, "ada", 1)).ids == [b"mine"]


@pytest.mark.parametrize("way", WAYS)
def test_an_original_that_arrives_when_the_holder_has_the_id_again_does_nothing(
    way: str, store: Store, client: redis.Redis
) -> None:
    keys, lanes = store.keys("q"), Lanes()
    store.run(transitions.register(keys, "ada", 60_000))
    enqueue(store, keys, "first")
    fetch(store, keys)
    settlement = WAYS[way](keys)
    lanes.enter(settlement)
    store.run(settlement)
    if way == "ack":
        enqueue(store, keys, "second")
    elif way == "bury":
        store.run(inspection.revive(keys, ["mine"]))
    fetch(store, keys)

    before = snapshot(client, keys)
    reply = store.run(settlement)
    assert reply in ([], (1, [])), "and says what a call says that was carried out"
    assert snapshot(client, keys) == before
    assert before["held:ada"] == {b"mine"}


def test_the_numbers_of_a_holder_end_with_it_and_with_time(store: Store, client: redis.Redis) -> None:
    keys = store.keys("q")
    for end in ("retire", "recover"):
        store.run(transitions.register(keys, end, 60_000))
        settlement = transitions.ack(keys, end, [])
        Lanes().enter(settlement)
        store.run(settlement)
        assert f"settled:{end}" in limited_in_time(client, keys)
        if end == "retire":
            store.run(transitions.retire(keys, end))
        else:
            store.run(transitions.recover(keys, end, forced=True, limit=3, window_ms=60_000, running=None))
        assert f"settled:{end}" not in snapshot(client, keys)


def test_a_call_that_failed_beside_one_that_did_not_is_carried_out_when_it_is_said_again(
    server: RedisServer, store: Store, client: redis.Redis
) -> None:
    """Nobody has heard of either: the connection is lost before the replies."""
    keys, lanes = store.keys("q"), Lanes()
    store.run(transitions.register(keys, "ada", 60_000))
    store.run(transitions.enqueue(keys, "lane", 1, ["failed", b"body", "done", b"body"]))
    store.run(transitions.fetch(keys, "ada", 2))
    client.set(keys.retries, "not ours")
    steps: list[Transition[Any]] = [
        transitions.retry(keys, "ada", [Later("failed", 60_000, 1, b"record")]),
        transitions.ack(keys, "ada", ["done"]),
    ]
    for step in steps:
        lanes.enter(step)
    with Proxy(server.unix_url) as proxy:
        link: Link = Store(proxy.url, prefix=store.prefix, timeout_s=5, patience_s=1).link()
        proxy.lose_reply(is_script("ack"))
        with pytest.raises(StoreUnavailable):
            link.pipeline(steps)
        again = link.pipeline(steps)
        assert isinstance(again[0], StoreCorrupt)
        assert again[1] == (1, []), "carried out, and one job is still held"
        client.delete(keys.retries)
        assert link.pipeline(steps) == [[], (0, [])]
        link.close()
    found = snapshot(client, keys)
    assert_one_place(found)
    assert set(found["retries"]) == {b"failed"}
    assert found["tries"] == {b"failed": b"1"}


def test_a_script_that_the_server_does_not_know_is_carried_out_beside_one_that_it_knows(
    store: Store, client: redis.Redis
) -> None:
    """It runs after those that were sent behind it."""
    keys, lanes = store.keys("q"), Lanes()
    store.run(transitions.register(keys, "ada", 60_000))
    store.run(transitions.enqueue(keys, "lane", 1, ["back", b"body", "done", b"body"]))
    store.run(transitions.fetch(keys, "ada", 2))
    steps = [transitions.release(keys, "ada", ["back"]), transitions.ack(keys, "ada", ["done"])]
    for step in steps:
        lanes.enter(step)
    link = store.link()
    link.pipeline([transitions.release(keys, "bob", []), transitions.ack(keys, "bob", [])])
    client.script_flush()
    client.script_load(steps[1].script.flagged)
    assert [reply.refused for reply in link.pipeline(steps)] == [[], []]
    link.close()
    found = snapshot(client, keys)
    assert_one_place(found)
    assert found["ready"] == [b"back"]


def test_calls_under_way_have_a_lane_each_and_leave_it_to_those_that_follow() -> None:
    keys, lanes = QueueKeys("t", "q"), Lanes()
    first, second, third = (transitions.ack(keys, "ada", []) for _ in range(3))
    lanes.enter(first)
    lanes.enter(second)
    lanes.leave(first)
    lanes.enter(third)
    assert [step.args[:2] for step in (first, second, third)] == [["0", 1], ["1", 2], ["0", 3]]


# -- a worker ------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.unix_url) as made:
        yield made


@pytest.fixture
def app(proxy: Proxy, prefix: str) -> Iterator[Ferryman]:
    """As its worker sees it: through the proxy."""
    made = Ferryman(proxy.url, prefix=prefix, timeout_s=1.0, lease_s=30.0)
    yield made
    made.close()


@pytest.fixture
def outside(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    made = Ferryman(server.url, prefix=prefix)
    yield made
    made.close()


def is_empty(app: Ferryman) -> bool:
    info = app.queue("default").info()
    return not (info.queued or info.scheduled or info.running)


def test_a_job_under_an_id_that_is_used_again_runs_though_the_ack_of_the_last_is_repeated(
    app: Ferryman, outside: Ferryman, proxy: Proxy
) -> None:
    """The ack and the fetch behind it are carried out, the new job comes in between, and no reply arrives."""
    seen: list[int] = []
    app.task(name="note")(seen.append)
    note = outside.task(name="note")(seen.append)
    note.options(id="mine").enqueue(1)
    note.enqueue(2)  # so that the worker fetches again with its ack
    acked = proxy.hold(is_script("ack"))
    with InProcessWorker(app, threads=1):
        assert acked.reached.wait(20)
        note.options(id="mine", priority=1).enqueue(3)
        lost = proxy.lose_reply(is_script("fetch"))
        acked.release.set()
        wait_until(lambda: is_empty(outside), 30, lambda: f"all done; ran: {seen}")
    assert lost.struck == 1
    assert sorted(seen) == [1, 2, 3]


def test_a_retry_that_arrives_when_the_job_runs_again_does_not_take_it_away(
    app: Ferryman, outside: Ferryman, proxy: Proxy, client: redis.Redis
) -> None:
    attempts: list[int] = []
    again, go_on = threading.Event(), threading.Event()

    @app.task(name="work", retry=5)
    def work() -> None:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise Retry(delay=0)
        again.set()
        assert go_on.wait(30)

    retries: list[Command] = []

    def is_first_retry(command: Command) -> bool:
        if is_script("retry")(command):
            retries.append(command)
            return True
        return False

    proxy.black_hole(is_first_retry)
    outside.task(name="work", retry=5)(work.fn).enqueue()
    with InProcessWorker(app, threads=2):
        assert again.wait(30)
        held = snapshot(client, outside.store.keys("default"))
        client.execute_command(*retries[0])
        late = snapshot(client, outside.store.keys("default"))
        go_on.set()
        wait_until(lambda: is_empty(outside), 30, lambda: f"all done; attempts: {len(attempts)}")
    assert [state for state in late if state.startswith("held:")] == [
        state for state in held if state.startswith("held:")
    ]
    assert "retries" not in late
    assert len(attempts) == 2
