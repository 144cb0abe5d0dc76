"""A fault at every moment of every transition, enumerated: the process is killed, or its connection breaks.

Each transition that there is (`tests/support/schedule_samples.py`) is met before the server has it, after the
server carried it out and before the reply, and after the reply. Then the queue must be as if the step had
been taken once or not at all, each job in exactly one place; and another worker must be able to finish all
that is left, each job once, and leave nothing behind.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
import redis

from ferryman.errors import StoreUnavailable
from ferryman.store import Store, Transition, inspection, transitions
from ferryman.store.keys import QueueKeys
from ferryman.store.transitions import Fetched
from tests.integration.test_store_scripts import flat, seed
from tests.support.proxy import MOMENTS, Moment, Proxy, is_script
from tests.support.puppets import QUEUE, Puppets
from tests.support.schedule_samples import EVERY_STEP, KEPT, keep_daily
from tests.support.server import RedisServer
from tests.support.snapshot import Snapshot, assert_one_place, limited_in_time, snapshot

FACES = ["sync", "async"]
BOUNDED = {"bell", "seq", "failures", "newer", "durations"}
"""What a queue keeps for ever, however many jobs went through: a token, a number, capped sets and hashes."""


def test_every_script_in_the_folder_is_met() -> None:
    folder = resources.files("ferryman.store") / "lua"
    there = {path.name.removesuffix(".lua") for path in folder.iterdir() if path.name.endswith(".lua")}
    assert there == {make(QueueKeys("p", QUEUE)).script.name for make in EVERY_STEP.values()}


@pytest.fixture(scope="module")
def puppets() -> Iterator[Puppets]:
    with Puppets() as running:
        yield running


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.unix_url) as running:
        yield running


@pytest.fixture
def direct(server: RedisServer, prefix: str) -> Iterator[Store]:
    """The server without the proxy."""
    found = Store(server.url, prefix=prefix, timeout_s=10, patience_s=10)
    yield found
    found.close()


class Stage:
    """A queue with a job in every place, and its state after the step was taken once, undisturbed."""

    def __init__(self, direct: Store, client: redis.Redis, sample: str) -> None:
        self._client = client
        self.keys = direct.keys(QUEUE)
        self.step: Transition[Any] = EVERY_STEP[sample](self.keys)
        self.picks = is_script(self.step.script.name)
        twin = direct.keys("twin")
        for keys in (self.keys, twin):
            seed(client, keys)
            keep_daily(direct, keys)
        self.before = self.state()
        direct.run(EVERY_STEP[sample](twin))
        self.once = snapshot(client, twin)
        """The state after the step."""

    def state(self) -> Snapshot:
        """The queue as it is now."""
        return snapshot(self._client, self.keys)

    def assert_is(self, expected: Snapshot) -> None:
        """Each job is in one place, and the state is this one but for moments that the server chose."""
        found = self.state()
        assert_one_place(found)
        assert flat(found) == flat(expected)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("sample", EVERY_STEP)
def test_a_process_killed_at_any_moment_of_any_step_leaves_every_job_once_and_others_finish_it(
    sample: str, moment: Moment, puppets: Puppets, proxy: Proxy, direct: Store, client: redis.Redis
) -> None:
    stage = Stage(direct, client, sample)
    fault = proxy.strike(moment, stage.picks, puppets.kill)
    assert puppets.play(proxy.url, direct.prefix, sample) == -signal.SIGKILL
    assert fault.done.wait(10)
    expected = stage.before if moment == "before" else stage.once
    stage.assert_is(expected)

    ran = work_off(direct, client, stage.keys)
    # What somebody wants cancelled ends when its worker is lost, and does not run again.
    left_to_run = set(expected["jobs"]) - set(expected.get("cancels", ()))
    assert sorted(ran) == sorted(local.decode() for local in left_to_run)
    # Of a job that the step itself has ended, the step says what becomes of its history.
    ended = {f"attempts:{local.decode()}" for local in set(stage.before["jobs"]) - set(expected["jobs"])}
    left = {name for name in stage.state() if not name.startswith("result:")} - ended
    assert left - limited_in_time(client, stage.keys) <= BOUNDED | KEPT


def work_off(store: Store, client: redis.Redis, keys: QueueKeys) -> list[str]:
    """All leases have lapsed; another worker looks for lost ones and runs whatever there is; the ids that it
    ran.
    """
    raw: Any = client
    raw.zadd(keys.workers, dict.fromkeys(raw.zrange(keys.workers, 0, -1), 1))
    client.delete(keys.swept)
    store.run(inspection.pause(keys, ""))
    store.run(transitions.register(keys, "zoe", 60_000))
    for holder in store.run(transitions.sweep(keys, 60_000)):
        step = transitions.recover(keys, holder, forced=False, limit=9, window_ms=60_000, running=None)
        assert store.run(step).left == 0, holder
    for place in (keys.dead, keys.delayed, keys.retries):
        waiting = [local.decode() for local in raw.zrange(place, 0, -1)]
        assert store.run(inspection.revive(keys, waiting)) == waiting
    ran = []
    while fetched := [local.decode() for local in store.run(transitions.fetch(keys, "zoe", 4)).ids]:
        ran += fetched
        histories = [(local, 0) for local in fetched]
        assert store.run(transitions.ack(keys, "zoe", fetched, histories=histories)) == (0, [])
    assert store.run(transitions.retire(keys, "zoe")) == 0
    return ran


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("sample", EVERY_STEP)
def test_a_connection_broken_at_any_moment_of_any_step_is_as_if_nothing_had_been(
    sample: str, moment: Moment, face: str, proxy: Proxy, direct: Store, client: redis.Redis
) -> None:
    """Or it is reported, where a repetition would do harm: then what it did is found by asking."""
    stage = Stage(direct, client, sample)
    store = Store(proxy.url, prefix=direct.prefix, timeout_s=10, patience_s=10)
    fault = proxy.strike(moment, stage.picks)
    expected = stage.once
    told: set[bytes] = set()
    try:
        reply = call(face, store, stage.step)
        if isinstance(reply, Fetched):
            told = set(reply.ids)
    except StoreUnavailable:
        assert not stage.step.repeatable
        expected = stage.before if moment == "before" else stage.once
    stage.assert_is(expected)
    held = set(store.run(transitions.reconcile(stage.keys, "ada")).ids)
    assert held == stage.state().get("held:ada", set())
    new = held - stage.before["held:ada"]
    assert told == new or (not told and not stage.step.repeatable), "jobs that nobody was told of"
    assert fault.done.wait(10)
    store.close()


def call(face: str, store: Store, step: Transition[Any]) -> Any:
    """Take the step, and say something more on the same connection; the reply."""
    if face == "sync":
        reply = store.run(step)
        assert store.pool.command("ECHO", "in step") == b"in step"
        return reply

    async def on_a_loop() -> Any:
        try:
            reply = await store.arun(step)
            assert await store.apool.command("ECHO", "in step") == b"in step"
            return reply
        finally:
            await store.apool.close()

    return asyncio.run(on_a_loop())
