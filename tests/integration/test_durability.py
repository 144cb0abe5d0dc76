"""Durability on real servers: what is confirmed, what cannot be had, and what a call that was not confirmed
leaves behind. Replicas have their tests among those of sentinels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman import ConfigurationError, Ferryman, NotDurable
from ferryman.task import Task
from tests.support.proxy import Proxy, is_script
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def on_disk() -> Iterator[RedisServer]:
    """Valkey with an append-only file that is synced every second."""
    with RedisServer("valkey", aof=True, args=["--appendfsync", "everysec"]) as running:
        yield running


@pytest.fixture
def task_at(prefix: str) -> Iterator[Callable[..., Task[[int], None]]]:
    """A task of an app at some URL."""
    apps: list[Ferryman] = []

    def made(url: str, **settings: Any) -> Task[[int], None]:
        app = Ferryman(url, prefix=prefix, **settings)
        apps.append(app)

        @app.task
        def nothing(number: int) -> None: ...

        return nothing

    yield made
    for app in apps:
        app.close()


def waiting(task: Task[[int], None]) -> int:
    """How many jobs stand in its queue."""
    return len(task.app.queue("default"))


def test_fsync_returns_once_the_server_has_written_to_disk(
    on_disk: RedisServer, task_at: Callable[..., Task[[int], None]]
) -> None:
    task = task_at(on_disk.url, durability="fsync:10")
    task.enqueue(1)
    task.enqueue_many([(number,) for number in range(1200)])

    async def on_a_loop() -> None:
        await task.aenqueue(2)
        await task.aenqueue_many([(3,), (4,)])
        await task.app.aclose()

    asyncio.run(on_a_loop())
    assert waiting(task) == 1 + 1200 + 1 + 2
    with on_disk.client() as client:
        raw: Any = client
        assert raw.execute_command("WAITAOF", 1, 0, 1)[0] == 1
        calls = client.info("commandstats")["cmdstat_waitaof"]["calls"]
    assert calls >= 4  # one a call, and not one a batch


def test_a_disk_that_is_slower_than_the_caller_s_patience_is_told_with_the_job_s_id(
    on_disk: RedisServer, task_at: Callable[..., Task[[int], None]]
) -> None:
    task = task_at(on_disk.url)
    hasty = task.options(durability="fsync:0.001")

    def refused() -> NotDurable | None:
        # Now and then a call falls right before the sync of the second.
        try:
            hasty.enqueue(1)
        except NotDurable as error:
            return error
        return None

    error = wait_until(refused, 20)
    assert error is not None
    assert "had not written it to disk within 0.001 s" in str(error)
    (job_id,) = error.job_ids
    job = task.app.job(job_id)
    assert job.state == "queued"
    before = waiting(task)
    again = task.options(durability="fsync:10", id=job.local).enqueue(1)
    assert (again.id, waiting(task)) == (job_id, before)


def test_a_call_that_is_repeated_after_a_lost_reply_still_waits_for_the_disk(
    on_disk: RedisServer, task_at: Callable[..., Task[[int], None]]
) -> None:
    with Proxy(on_disk.unix_url) as proxy:
        task = task_at(proxy.url, durability="fsync:10")
        task.enqueue(0)
        fault = proxy.lose_reply(is_script("enqueue"))
        task.enqueue(1)
        assert fault.struck == 1
        assert waiting(task) == 2


def test_a_server_without_an_append_only_file_is_refused_before_anything_is_enqueued(
    server: RedisServer, task_at: Callable[..., Task[[int], None]]
) -> None:
    task = task_at(server.url, durability="fsync")
    with pytest.raises(ConfigurationError, match="appendonly yes"):
        task.enqueue(1)
    with pytest.raises(ConfigurationError, match="appendonly yes"):
        task.enqueue_many([(1,), (2,)])

    async def on_a_loop() -> None:
        with pytest.raises(ConfigurationError, match="appendonly yes"):
            await task.aenqueue(1)
        await task.app.aclose()

    asyncio.run(on_a_loop())
    assert waiting(task) == 0


def test_memory_refuses_what_it_cannot_keep(task_at: Callable[..., Task[[int], None]]) -> None:
    task = task_at("memory://", durability="replicated")
    with pytest.raises(ConfigurationError, match="in this process only"):
        task.enqueue(1)
    assert waiting(task) == 0


@pytest.mark.parametrize("sync, fits", [("always", True), ("everysec", False)])
def test_an_older_redis_gives_fsync_only_where_it_syncs_before_each_answer(
    redis_server_binary: Path, task_at: Callable[..., Task[[int], None]], sync: str, fits: bool
) -> None:
    with RedisServer("redis", aof=True, args=["--appendfsync", sync]) as old:
        with old.client() as client:
            version = tuple(map(int, client.info("server")["redis_version"].split(".")[:2]))
        fits = fits or version >= (7, 2)  # has WAITAOF
        task = task_at(old.url, durability="fsync")
        if fits:
            task.enqueue(1)
            task.enqueue_many([(2,)])
            assert waiting(task) == 2
        else:
            with pytest.raises(ConfigurationError, match="appendfsync 'everysec'"):
                task.enqueue(1)
            assert waiting(task) == 0
