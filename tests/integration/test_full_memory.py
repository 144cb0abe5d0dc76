"""Redis is at ``maxmemory`` and evicts nothing: who brings jobs is refused, who works them off is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import ferryman
from ferryman import Ferryman, StoreFull, doctor_server
from ferryman.cli import workers as cli_workers
from ferryman.doctor_probe import Probe
from ferryman.store import transitions
from ferryman.worker.fitness import check_store
from ferryman.worker.inprocess import InProcessWorker
from tests.integration.test_store_scripts import seed
from tests.support.samples import SAMPLES
from tests.support.server import RedisServer
from tests.support.snapshot import assert_one_place, snapshot
from tests.support.waiting import wait_until


@pytest.fixture(scope="module", params=["valkey", "redis"])
def small(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server that the tests of this file fill, and give room again."""
    if request.param == "redis":
        request.getfixturevalue("redis_server_binary")
    with RedisServer(request.param, args=["--maxmemory-policy", "noeviction"]) as running:
        yield running


@pytest.fixture
def admin(small: RedisServer) -> Iterator[redis.Redis]:
    """Somebody who can fill it."""
    with small.client() as raw:
        yield raw
        room(raw)


@pytest.fixture
def app(small: RedisServer, admin: redis.Redis, prefix: str) -> Iterator[Ferryman]:
    """An app with a task, which has used its queue before."""
    made = Ferryman(small.url, prefix=prefix, patience_s=1.0, lease_s=2.0)

    @made.task(queue="q", name="double")
    def double(number: int) -> int:
        return 2 * number

    yield made
    made.close()


def fill(admin: redis.Redis) -> None:
    admin.config_set("maxmemory", "1")


def room(admin: redis.Redis) -> None:
    admin.config_set("maxmemory", "0")


@pytest.mark.parametrize("sample", SAMPLES)
def test_each_transition_but_an_enqueue_is_carried_out(
    sample: str, app: Ferryman, admin: redis.Redis
) -> None:
    keys = app.store.keys("q")
    seed(admin, keys)
    before = snapshot(admin, keys)
    transition = SAMPLES[sample](keys)
    admin.script_flush()  # a worker that starts now has to load its scripts
    fill(admin)
    if sample.startswith("enqueue"):
        with pytest.raises(StoreFull, match="takes no new jobs"):
            app.store.run(transition)
        room(admin)
        assert snapshot(admin, keys) == before
    else:
        app.store.run(transition)
        room(admin)
        assert_one_place(snapshot(admin, keys))


def test_no_plain_command_of_a_worker_is_one_that_a_full_server_refuses(admin: redis.Redis) -> None:
    package = Path(ferryman.__file__).parent
    rooms = [*(package / "worker").glob("*.py"), package / "listener.py"]
    code = "".join(path.read_text() for path in rooms)
    used = set(re.findall(r"""(?:command|send)\(\s*"([A-Z]+)\"""", code))
    assert {"BLPOP", "TIME"} <= used
    found: Any = admin.execute_command("COMMAND")
    flags = {name.upper(): what["flags"] for name, what in found.items() if name.upper() in used}
    assert set(flags) == used
    refused = [name for name, words in flags.items() if "denyoom" in map(str, words)]
    assert refused == []


def test_a_worker_starts_works_is_seen_and_ends_while_memory_is_full(
    app: Ferryman, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    task, keys = app.tasks["double"], app.store.keys("q")
    jobs = task.enqueue_many([(number,) for number in range(700)])
    app.store.run(transitions.register(keys, "lost", 60_000))
    assert len(app.store.run(transitions.fetch(keys, "lost", 50)).ids) == 50
    admin.zadd(keys.workers, {"lost": 1})  # its lease has lapsed, with jobs in its hands
    fill(admin)
    check_store(app)
    with InProcessWorker(app, "q", threads=2) as worker:
        with pytest.raises(StoreFull):
            task.enqueue(1)
        assert [job.result(30) for job in jobs] == [2 * number for number in range(700)]
        # Heartbeats: it is seen long after its first lease would have lapsed, under the same name.
        held_as = worker.holder
        wait_until(lambda: [note.done for note in cli_workers.fleet(app)] == [700], 20, "it is seen")
        before = admin.zscore(keys.workers, held_as)
        wait_until(lambda: (admin.zscore(keys.workers, held_as) or 0) > (before or 0) + 2000, 20, "it lives")
        assert doctor_server.memory(Probe(app))[0].status == "error"
        room(admin)
        assert task.enqueue(4).result(20) == 8
        assert worker.holder == held_as
        fill(admin)
    assert admin.zcard(keys.workers) == 0, "it has ended in good order"
    assert admin.scard(keys.holders) == 0
    assert cli_workers.fleet(app) == []
    assert [record for record in caplog.records if "memory limit" in record.getMessage()] == []


def test_a_queue_that_learns_run_times_learns_them_while_memory_is_full(
    app: Ferryman, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = app.queue("short", order="shortest")
    app.task(queue="short", name="brief", result_ttl=0)(int).enqueue_many([()] * 5)
    fill(admin)
    with InProcessWorker(app, "short", threads=1):
        wait_until(lambda: admin.hexists(app.store.keys("short").durations, "brief"), 20, "it is known")
    assert queue.info().running == 0
    assert "memory limit" not in caplog.text


def test_the_first_producer_of_all_is_told_that_memory_is_full(app: Ferryman, admin: redis.Redis) -> None:
    fill(admin)
    with pytest.raises(StoreFull):
        app.tasks["double"].enqueue(1)
    with pytest.raises(StoreFull):
        app.tasks["double"].enqueue_many([(1,)] * 3)
    room(admin)
    app.tasks["double"].enqueue(1)
    assert app.queue("q").info().queued == 1
