"""Two releases of Ferryman under one prefix: what each makes of what the other has left there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from ferryman import Ferryman, StoreError, StoreIncompatible, UnsupportedVersion, doctor_jobs, envelope
from ferryman.cli import workers as cli_workers
from ferryman.doctor_probe import Probe
from ferryman.store import layout, transitions
from ferryman.worker import exitcodes
from ferryman.worker.inprocess import InProcessWorker
from tests.support.fleet import Fleet
from tests.support.hand import Hand
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

NEWER = envelope.VERSION + 1


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    made = Ferryman(server.url, prefix=prefix, patience_s=5.0)
    yield made
    made.close()


# -- the layout of the keys ----------------------------------------------------------------------------------


def test_the_first_who_comes_leaves_the_format_and_the_others_read_it(
    app: Ferryman, client: redis.Redis
) -> None:
    app.queue("q").enqueue("x:y")
    key = app.store.fleet_keys.format
    assert client.get(key) == layout.OURS.stamp
    assert layout.check(Hand(app, "q").app.store.pool._make(), app.store.fleet_keys) == layout.OURS


async def _enqueue(app: Ferryman) -> None:
    await app.queue("q").aenqueue("x:y")
    await app.aclose()


def test_an_incompatible_newer_layout_is_refused_by_producers_and_workers_and_nothing_is_touched(
    app: Ferryman, server: RedisServer, prefix: str, client: redis.Redis
) -> None:
    @app.task(queue="q")
    def idle() -> None: ...

    client.set(app.store.fleet_keys.format, "7 6")
    said = "format 7, by a newer Ferryman .* upgrade this program"
    with pytest.raises(StoreIncompatible, match=said):
        app.queue("q").enqueue("x:y")
    with pytest.raises(StoreIncompatible, match=said):
        asyncio.run(_enqueue(app))
    with pytest.raises(StoreIncompatible, match=said):
        InProcessWorker(app, "q").start()
    with Fleet(
        server.url, prefix, "tests.integration.worker_jobs:app", environment={"FERRYMAN_TEST_FLEET": "1"}
    ) as fleet:
        assert fleet.end() == exitcodes.STORE_REFUSED
        assert "upgrade this program" in fleet.output()
    assert [finding.status for finding in doctor_jobs.releases(Probe(app))] == ["error"]
    assert client.keys(f"{prefix}:*") == [app.store.fleet_keys.format.encode()]


def test_a_newer_layout_that_older_programs_can_share_is_shared(
    app: Ferryman, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(queue="q")
    def value() -> int:
        return 5

    client.set(app.store.fleet_keys.format, f"9 {layout.FORMAT}")
    with caplog.at_level(logging.INFO, "ferryman.worker"), InProcessWorker(app, "q"):
        assert value.enqueue().result(20) == 5
    assert "laid out in format 9" in caplog.text
    (finding,) = doctor_jobs.releases(Probe(app))
    assert (finding.status, "format 9" in finding.what) == ("ok", True)


def test_a_layout_that_is_too_old_is_refused_and_says_what_to_do(
    app: Ferryman, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.set(app.store.fleet_keys.format, layout.OURS.stamp)
    monkeypatch.setattr(layout, "FORMAT", 5)
    monkeypatch.setattr(layout, "OLDEST", 4)
    with pytest.raises(StoreIncompatible, match="let workers of the older release empty the queues"):
        app.queue("q").enqueue("x:y")
    monkeypatch.setattr(layout, "OLDEST", 1)
    app.queue("q").enqueue("x:y")


def test_what_is_no_format_is_named(app: Ferryman, client: redis.Redis) -> None:
    client.set(app.store.fleet_keys.format, "something else")
    with pytest.raises(StoreError, match="something else writes under this prefix"):
        app.queue("q").enqueue("x:y")


def test_the_layout_is_looked_at_once_a_process(app: Ferryman, client: redis.Redis) -> None:
    for queue in ("a", "b"):
        app.queue(queue).enqueue("x:y")
        client.delete(app.store.fleet_keys.format)
    assert client.get(app.store.fleet_keys.format) is None


# -- jobs ----------------------------------------------------------------------------------------------------


def newer_jobs(app: Ferryman, monkeypatch: pytest.MonkeyPatch, task: Any, count: int) -> list[Any]:
    """Jobs that a newer producer enqueued."""
    with monkeypatch.context() as patched:
        patched.setattr(envelope, "VERSION", NEWER)
        return list(task.enqueue_many([(number,) for number in range(count)]))


def test_an_older_worker_leaves_newer_jobs_uncharged_and_goes_on_with_the_others(
    app: Ferryman, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(queue="q")
    def value(number: int) -> int:
        return number

    new = newer_jobs(app, monkeypatch, value, 30)
    old = value.enqueue_many([(number,) for number in range(30)])
    keys = app.store.keys("q")
    with caplog.at_level(logging.WARNING, "ferryman.worker"), InProcessWorker(app, "q", threads=2) as worker:
        assert [job.result(20) for job in old] == list(range(30))
        # Told by the next acknowledgement.
        wait_until(lambda: all(job.info().state == "scheduled" for job in new), 20, "they are put off")
        assert [job.info().attempt for job in new] == [0] * 30
        assert app.store.pool.command("ZCARD", keys.newer) == 30
        assert worker.done == 30, "what was put off was not done"
        (note,) = wait_until(lambda: [note for note in cli_workers.fleet(app) if note.left], 20)
        assert (note.reads, note.newest_met, note.left >= 30) == (envelope.VERSION, NEWER, True)
    assert len([line for line in caplog.messages if "newer workers" in line]) == 1
    findings = [finding.what for finding in doctor_jobs.queues(Probe(app)) if "left" in finding.what]
    assert findings == [f"30 jobs of envelope versions up to {NEWER} left to newer workers"]


def test_a_newer_worker_takes_what_was_left_long_before_it_is_due(
    app: Ferryman, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task(queue="q")
    def value(number: int) -> int:
        return number

    jobs = newer_jobs(app, monkeypatch, value, 1200)
    hand = Hand(app, "q")
    ids = hand.take(3000)
    for part in transitions.batches(ids):
        deferrals = [transitions.Deferral(local, NEWER, 3_600_000) for local in part]
        assert hand.run(transitions.defer(hand.keys, hand.holder, deferrals)) == []
    jobs[0].cancel()
    monkeypatch.setattr(envelope, "VERSION", NEWER)
    with InProcessWorker(app, "q", threads=4):
        assert [job.result(30) for job in jobs[1:]] == list(range(1, 1200))
    info = app.queue("q").info()
    assert (info.queued, info.scheduled, info.running, info.dead) == (0, 0, 0, 0)
    assert app.store.pool.command("EXISTS", hand.keys.newer) == 0, "what was cancelled is forgotten"


def test_nobody_summons_what_he_cannot_read_or_from_a_paused_queue_or_without_a_lease(app: Ferryman) -> None:
    job = app.queue("q").enqueue("x:y")
    hand = Hand(app, "q")
    hand.take()
    hand.run(transitions.defer(hand.keys, hand.holder, [transitions.Deferral(job.local, 3, 60_000)]))

    def summoned(version: int, holder: str = hand.holder) -> list[bytes]:
        return hand.run(transitions.summon(hand.keys, holder, version, 10)).ids

    assert summoned(2) == []
    assert summoned(3, "stranger") == []
    app.queue("q").pause("a deployment")
    assert summoned(3) == []
    app.queue("q").resume()
    assert summoned(3) == [job.local.encode()]
    assert summoned(3) == []
    hand.ack(job.local)


# -- records -------------------------------------------------------------------------------------------------


def appended(record: bytes, *more: Any) -> bytes:
    """The record as a newer release would write it: with further fields at its end."""
    return msgspec.msgpack.encode([*msgspec.msgpack.decode(record), *more])


def test_results_attempts_and_notes_with_more_fields_are_read_as_far_as_they_are_known(
    app: Ferryman, client: redis.Redis
) -> None:
    hand = Hand(app, "q")
    done, dead = app.queue("q").enqueue("x:y"), app.queue("q").enqueue("x:y")
    hand.take()
    hand.finish(done.local, 5)
    hand.bury(dead.local)
    key = hand.keys.result(done.local)
    client.set(key, appended(client.get(key), {"novelty": [1, None]}))  # type: ignore[arg-type]
    key = hand.keys.attempts(dead.local)
    client.lset(key, 0, appended(client.lindex(key, 0), "novelty"))  # type: ignore[arg-type]
    note = {
        "id": "w", "host": "h", "pid": 1, "supervisor": 1, "state": "pondering", "queues": ["q"],
        "threads": 1, "concurrency": 1, "started_ms": 1, "novelty": {"a": [1]},
    }  # fmt: skip
    client.set(app.store.fleet_keys.worker("w"), msgspec.msgpack.encode(note))
    client.zadd(app.store.fleet_keys.fleet, {"w": 4e12})

    assert app.job(done.id).result(5) == 5
    assert (dead.info().state, dead.info().error) == ("dead", "E: no")
    assert [found.state for found in cli_workers.fleet(app)] == ["pondering"]


def test_an_end_that_only_a_newer_release_knows_is_an_error_and_not_a_wait_for_ever(
    app: Ferryman, client: redis.Redis
) -> None:
    hand = Hand(app, "q")
    job = app.queue("q").enqueue("x:y")
    hand.take()
    hand.finish(job.local, 5)
    key = hand.keys.result(job.local)
    record = msgspec.msgpack.decode(client.get(key))  # type: ignore[arg-type]
    client.set(key, msgspec.msgpack.encode(["superseded", *record[1:]]))
    with pytest.raises(UnsupportedVersion, match="superseded"):
        app.job(job.id).result(20)
    assert job.info().task == "task"
