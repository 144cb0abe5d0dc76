"""What users, servers and operating systems do to a producer ends in one clear error, and loses nothing."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.exceptions as rx

from ferryman import (
    ConfigurationError,
    Ferryman,
    InvalidArguments,
    InvalidOption,
    JobNotFound,
    PayloadTooLarge,
    StoreCorrupt,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UnknownTask,
)
from ferryman.store import Address, transitions
from ferryman.store.address import mask, parse
from ferryman.store.connection import explain
from ferryman.store.transitions import Burial, Later
from tests.support.server import RedisServer
from tests.support.snapshot import assert_one_place, snapshot
from tests.support.waiting import wait_until


def note(number: int) -> None:
    """What the jobs would do."""


def big(data: bytes) -> None:
    """Takes any amount of data."""


def make(url: str, prefix: str, **settings: Any) -> Ferryman:
    app = Ferryman(url, prefix=prefix, **{"timeout_s": 2.0, "patience_s": 3.0, **settings})
    app.task(name="note", queue="q")(note)
    app.task(name="big", queue="q")(big)
    return app


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    made = make(server.url, prefix)
    yield made
    made.close()


def ready(client: redis.Redis, app: Ferryman) -> list[bytes]:
    state = snapshot(client, app.store.keys("q"))
    assert_one_place(state)
    found: list[bytes] = state.get("ready", [])
    return found


# -- what a caller may get wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options,words",
    [
        ({"at": datetime(2030, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"at": "2030-01-01"}, "takes a datetime"),
        ({"delay": -1}, ">= 0"),
        ({"delay": float("nan")}, ">= 0"),
        ({"delay": "5"}, "number of seconds"),
        ({"delay": 1e12}, ">= 0"),
        ({"delay": 1, "at": datetime.fromisoformat("2030-01-01T00:00:00Z")}, "not both"),
        ({"id": ""}, "1 to 128"),
        ({"id": "a b"}, "1 to 128"),
        ({"id": "a@b"}, "1 to 128"),
        ({"id": "x" * 129}, "1 to 128"),
        ({"id": "zeilen\n"}, "1 to 128"),
        ({"id": 7}, "1 to 128"),
        ({"queue": "a b"}, "1 to 64"),
        ({"queue": "{q}"}, "1 to 64"),
        ({"queue": ""}, "1 to 64"),
        ({"queue": "q\n"}, "1 to 64"),
        ({"queue": None}, "1 to 64"),
        ({"priority": 1001}, "-1000 to 1000"),
        ({"priority": 1.5}, "-1000 to 1000"),
        ({"priority": True}, "-1000 to 1000"),
        ({"timeout": 0}, "end every attempt"),
        ({"retry": "3"}, "whole number"),
        ({"retry": -1}, "whole number"),
        ({"meta": [1]}, "mapping"),
        ({"meta": {1: 2}}, "text keys"),
        ({"meta": {"x": object()}}, "cannot travel"),
        ({"meta": {"x": 2**70}}, "cannot travel"),
        ({"tags": "word"}, "list of words"),
        ({"tags": 5}, "list of words"),
        ({"tags": [""]}, "list of words"),
        ({"tags": ["\ud800"]}, "cannot travel"),
        ({"prioriti": 1}, "there is no option 'prioriti'"),
    ],
)
def test_an_option_out_of_bounds_is_refused_before_anything_is_sent(
    options: Any, words: str, app: Ferryman, client: redis.Redis
) -> None:
    with pytest.raises(InvalidOption, match=words):
        app.tasks["note"].options(**options).enqueue(1)
    assert snapshot(client, app.store.keys("q")) == {}


@pytest.mark.parametrize("option", [{"delay": 5}, {"id": "one"}, {"at": None}])
def test_a_task_cannot_have_what_is_said_of_one_job(option: Any, app: Ferryman) -> None:
    with pytest.raises(InvalidOption, match=r"is said of one job"):
        app.task(name="other", **option)(note)


@pytest.mark.parametrize("job_id", ["", "q", "@q", "a@", "a@b c", "a b@q", "a@q@", "x" * 129 + "@q"])
def test_what_is_no_job_id_is_refused(job_id: str, app: Ferryman) -> None:
    with pytest.raises(InvalidOption, match="is no job id"):
        app.job(job_id)


def test_a_job_that_never_was_is_not_found(app: Ferryman) -> None:
    job = app.job("never@q")
    with pytest.raises(JobNotFound, match="no trace of job never@q"):
        job.info()
    assert job.cancel() is False
    assert job.retry() is False


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 201, "a\nb"])
def test_what_is_no_task_name_is_refused(name: str, app: Ferryman) -> None:
    with pytest.raises(UnknownTask):
        app.queue("q").enqueue(name)


def test_arguments_that_do_not_fit_are_refused_and_nothing_is_sent(
    app: Ferryman, client: redis.Redis
) -> None:
    task: Any = app.tasks["note"]
    for call in (
        task.enqueue,
        lambda: task.enqueue(1, 2),
        lambda: task.enqueue(number=1, more=2),
        lambda: task.enqueue(object()),
        lambda: task.enqueue_many([(1,), (2, 3)]),
        lambda: task.enqueue_many([1]),
        lambda: task.enqueue_many([(1,), [2]]),
        lambda: task.options(id="one").enqueue_many([(1,), (2,)]),
    ):
        with pytest.raises(InvalidArguments):
            call()
    assert snapshot(client, app.store.keys("q")) == {}


def test_a_bulk_enqueue_of_one_job_keeps_the_id_that_was_chosen(app: Ferryman) -> None:
    (job,) = app.tasks["note"].options(id="mine").enqueue_many([(1,)])
    assert job.id == "mine@q"
    assert app.job("mine@q").info().args == (1,)


def test_a_payload_above_the_limit_is_refused(server: RedisServer, prefix: str, client: redis.Redis) -> None:
    app = make(server.url, prefix, max_payload=1000)
    with pytest.raises(PayloadTooLarge, match=r"1[,_]?000"):
        app.tasks["big"].enqueue(b"x" * 1001)
    with pytest.raises(PayloadTooLarge):
        app.tasks["big"].enqueue_many([(b"x",), (b"x" * 1001,)])
    assert snapshot(client, app.store.keys("q")) == {}
    app.close()


def test_many_large_jobs_travel_in_calls_of_bounded_size(app: Ferryman, client: redis.Redis) -> None:
    sizes: list[int] = []
    run = app.store.pool.run

    def measured(transition: Any, durability: Any = None) -> Any:
        sizes.append(sum(len(word) for word in transition.args if isinstance(word, bytes)))
        return run(transition, durability)

    app.store.pool.run = measured  # type: ignore[method-assign]
    jobs = app.tasks["big"].enqueue_many([(b"x" * 900_000,)] * 12)
    assert max(sizes) <= 4 * 1024 * 1024
    assert ready(client, app) == [job.local.encode() for job in reversed(jobs)]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://localhost",
        "redis://localhost:port",
        "redis://localhost/0?no_such_option=1",
        "redis+cluster://localhost/3",
        "redis+sentinel://localhost",
        "redis+cluster://",
        "unix://",
    ],
)
def test_a_url_that_cannot_work_is_refused_at_the_first_use(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Ferryman(url).store  # noqa: B018


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hush@host:1/0",
        "redis://:hush@host",
        "redis://:hu/sh@host:1/0",
        "redis://:hu#sh@host:1/0",
        "redis://:hu?sh@host:1/0",
        "redis://:hu@sh@host:1/0",
        "redis://:hush@host:port/0",
        "unix:///run/s?password=hush",
        "unix:///run/s?password=hu@sh",
    ],
)
def test_no_message_shows_a_password_however_badly_it_is_written(url: str) -> None:
    shown = mask(url)
    try:
        shown += str(parse(url)) + repr(parse(url))
    except ConfigurationError as error:
        shown += str(error)
    for piece in ("hush", "hu/", "hu#", "hu@", "hu?", "sh@", "'hu'"):
        assert piece not in shown


# -- servers that refuse -------------------------------------------------------------------------------------


def test_a_wrong_password_is_an_error_that_says_so(prefix: str) -> None:
    with RedisServer("valkey") as locked, locked.client() as admin:
        admin.config_set("requirepass", "right")
        for query, words in (("", "Authentication required"), ("?password=wrong", "invalid")):
            app = make(locked.unix_url + query, prefix)
            with pytest.raises(StoreDenied, match=words):
                app.tasks["note"].enqueue(1)
            with pytest.raises(StoreDenied, match=words):
                asyncio.run(app.tasks["note"].aenqueue(1))
            app.close()
        app = make(f"{locked.unix_url}?password=right", prefix)
        app.tasks["note"].enqueue(1)
        app.close()


def test_a_user_who_may_not_is_told_so(prefix: str) -> None:
    with RedisServer("valkey") as guarded, guarded.client() as admin:
        admin.execute_command(
            "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+@connection", "+time"
        )
        app = make(f"{guarded.unix_url}?username=reader&password=pw", prefix)
        with pytest.raises(StoreDenied, match="ACL"):
            app.tasks["note"].enqueue(1)
        app.close()


def test_nobody_there_is_said_after_patience(tmp_path: Any, prefix: str) -> None:
    app = make(f"unix://{tmp_path}/nobody", prefix, patience_s=0.1)
    with pytest.raises(StoreUnavailable, match="cannot be used at the moment"):
        app.tasks["note"].enqueue(1)
    with pytest.raises(StoreUnavailable):
        asyncio.run(app.tasks["note"].aenqueue(1))


@pytest.mark.parametrize(
    "error,kind,words",
    [
        (rx.ResponseError("unknown command 'SMISMEMBER'"), StoreError, "too old"),
        (
            rx.ResponseError(
                "Error running script: @user_script: 9: Unknown Redis command called from Lua script"
            ),
            StoreError,
            "too old",
        ),
        (rx.ResponseError("WRONGTYPE Operation against a key"), StoreCorrupt, "did not put there"),
        (rx.ResponseError("MISCONF Errors writing to the AOF file"), StoreUnavailable, "at the moment"),
        (rx.BusyLoadingError("LOADING Redis is loading"), StoreUnavailable, "at the moment"),
        (rx.ReadOnlyError("You can't write against a read only replica."), StoreUnavailable, "at the moment"),
        (rx.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), StoreFull, "noeviction"),
        (rx.AuthenticationError("invalid username-password pair"), StoreDenied, "password"),
        (rx.NoPermissionError("this user has no permissions"), StoreDenied, "ACL"),
        (rx.TimeoutError("Timeout reading from socket"), StoreUnavailable, "at the moment"),
        (ConnectionResetError(104, "reset by peer"), StoreUnavailable, "at the moment"),
        (rx.ResponseError("value is not an integer"), StoreError, "answered with an error"),
    ],
)
def test_each_answer_of_a_server_has_its_error(error: Exception, kind: type, words: str) -> None:
    found = explain(error, Address("redis://:hush@host:1/0", "server"))
    assert type(found) is kind
    assert words in str(found)
    assert "hush" not in str(found)


# -- a full Redis --------------------------------------------------------------------------------------------


def test_a_full_redis_takes_no_new_jobs_and_lets_workers_finish_the_old_ones(
    redis_server_binary: Path, prefix: str
) -> None:
    with RedisServer("redis", args=["--maxmemory-policy", "noeviction"]) as full, full.client() as client:
        app = make(full.unix_url, prefix)
        task, keys, run = app.tasks["note"], app.store.keys("q"), app.store.run
        jobs = task.enqueue_many([(number,) for number in range(5)])
        run(transitions.register(keys, "ada", 60_000))
        client.config_set("maxmemory", "100kb")
        before = snapshot(client, keys)
        for refused in (
            lambda: task.enqueue(9),
            lambda: task.options(id="mine").enqueue(9),
            lambda: task.enqueue_many([(1,), (2,)]),
            lambda: asyncio.run(task.aenqueue(9)),
        ):
            with pytest.raises(StoreFull, match="memory limit"):
                refused()
        assert snapshot(client, keys) == before

        fetched = run(transitions.fetch(keys, "ada", 5))
        assert len(fetched.ids) == 5
        first, second, third, fourth, fifth = (job.local for job in jobs)
        assert run(transitions.ack(keys, "ada", [first], minute=1, counters=[("ok:note", 1)])).refused == []
        assert run(transitions.retry(keys, "ada", [Later(second, 10, 1, b"record")])) == []
        burial = Burial(third, 1, b"record", "print", "note")
        assert run(transitions.bury(keys, "ada", [burial], minute=1, most=9, oldest_ms=60_000)) == []
        assert run(transitions.heartbeat(keys, ["ada"], 60_000)).lost == []
        assert run(transitions.release(keys, "ada", [fourth])).refused == []
        assert run(transitions.snooze(keys, "ada", [Later(fifth, 10, 0)])) == []
        assert_one_place(snapshot(client, keys))
        client.config_set("maxmemory", "0")
        task.enqueue(9)
        app.close()


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_bulk_enqueue_that_fills_redis_stops_early_and_says_how_far_it_came(face: str, prefix: str) -> None:
    with RedisServer("valkey", args=["--maxmemory-policy", "noeviction"]) as full, full.client() as client:
        app = make(full.unix_url, prefix)
        task = app.tasks["big"]
        task.enqueue(b"")
        info: Any = client.info("memory")
        client.config_set("maxmemory", info["used_memory"] + 4_000_000)
        calls = [(b"x" * 2000,)] * 5000
        with pytest.raises(StoreFull, match="were handed over before that") as caught:
            task.enqueue_many(calls) if face == "sync" else asyncio.run(task.aenqueue_many(calls))
        assert 0 < caught.value.enqueued < 5000
        assert caught.value.enqueued % 500 == 0
        client.config_set("maxmemory", "0")
        assert len(ready(client, app)) == caught.value.enqueued + 1
        app.close()


# -- what stands in Redis and is not ours --------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"garbage", b"\x96\x02\xa1t\x90\xc0\x01\xc0", b"\x91" * 100_000]
)
def test_an_envelope_that_is_not_ours_is_shown_as_far_as_it_can_be(
    body: bytes, app: Ferryman, client: redis.Redis
) -> None:
    job = app.tasks["note"].enqueue(1)
    client.hset(app.store.keys("q").jobs, job.local, body)
    found = job.info()
    assert found.state == "queued"
    assert "unreadable" in found.task
    assert app.queue("q").info().queued == 1
    assert [other.id for other in app.queue("q").jobs()] == [job.id]
    assert job.cancel() is True
    assert job.state == "cancelled"


def test_records_that_are_not_ours_hide_nothing_else(app: Ferryman, client: redis.Redis) -> None:
    job = app.tasks["note"].enqueue(1)
    client.rpush(app.store.keys("q").attempts(job.local), b"garbage")
    assert job.info().attempts == ()
    assert job.info().task == "note"


def test_a_moment_that_no_calendar_holds_is_left_out(app: Ferryman, client: redis.Redis) -> None:
    job = app.tasks["note"].enqueue(1)
    client.hset(
        app.store.keys("q").jobs, job.local, b"\x96\x01\xa4note\x91\x01\xc0\xcf\x7f" + b"\xff" * 7 + b"\xc0"
    )
    assert job.info().enqueued_at is None


def test_an_id_without_a_body_is_reported_and_goes(app: Ferryman, client: redis.Redis) -> None:
    keys = app.store.keys("q")
    client.rpush(keys.ready, "lost")
    job = app.tasks["note"].enqueue(1)
    app.store.run(transitions.register(keys, "ada", 60_000))
    fetched = app.store.run(transitions.fetch(keys, "ada", 5))
    assert fetched.missing == [b"lost"]
    assert fetched.ids == [job.local.encode()]
    client.hdel(keys.jobs, job.local)
    assert app.store.run(transitions.drop(keys, "ada", [job.local])) == 1
    assert app.store.run(transitions.retire(keys, "ada")) == 0


# -- servers that forget, restart, hang up -------------------------------------------------------------------


def test_scripts_that_were_flushed_are_loaded_again(app: Ferryman, client: redis.Redis) -> None:
    task = app.tasks["note"]

    async def flushing() -> None:
        await task.aenqueue(1)
        client.script_flush()
        await task.aenqueue(2)

    task.enqueue(1)
    client.script_flush()
    task.enqueue(2)
    asyncio.run(flushing())
    assert len(ready(client, app)) == 4


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_server_that_restarts_between_calls_is_found_again(how: str, prefix: str) -> None:
    with RedisServer("valkey", aof=True, args=["--appendfsync", "always"]) as restarted:
        app = make(restarted.unix_url, prefix)
        task = app.tasks["note"]

        async def over_a_restart() -> None:
            await task.aenqueue(1)
            getattr(restarted, how)()
            restarted.restart()
            await task.aenqueue(2)

        task.enqueue(1)
        asyncio.run(over_a_restart())
        task.enqueue(3)
        with restarted.client() as client:
            assert len(ready(client, app)) == 4
        app.close()


def test_a_call_waits_for_a_server_that_is_just_restarting(prefix: str) -> None:
    with RedisServer("valkey", aof=True, args=["--appendfsync", "always"]) as restarted:
        app = make(restarted.unix_url, prefix, patience_s=10.0)
        task = app.tasks["note"]
        task.enqueue(1)
        restarted.kill()
        app.store.forget_clock()
        call = threading.Thread(target=task.enqueue, args=(2,))
        call.start()
        restarted.restart()
        call.join(10)
        assert not call.is_alive()
        with restarted.client() as client:
            assert len(ready(client, app)) == 2
        app.close()


def test_connections_that_the_server_killed_are_replaced(prefix: str) -> None:
    with RedisServer("valkey") as own, own.client() as client:
        app = make(own.unix_url, prefix)

        async def killed() -> None:
            await app.tasks["note"].aenqueue(1)
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await app.tasks["note"].aenqueue(2)

        app.tasks["note"].enqueue(1)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        app.tasks["note"].enqueue(2)
        asyncio.run(killed())
        assert len(ready(client, app)) == 4
        app.close()


# -- threads, loops, forks -----------------------------------------------------------------------------------


def in_threads(count: int, target: Callable[[int], object]) -> None:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            target(number)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_sixteen_threads_share_an_app(app: Ferryman, client: redis.Redis) -> None:
    task, found = app.tasks["note"], []

    def enqueue(_: int) -> None:
        found.extend([task.enqueue(number).local.encode() for number in range(200)])

    in_threads(16, enqueue)
    assert len(set(found)) == 3200
    assert set(ready(client, app)) == set(found)


def test_more_threads_than_connections_take_turns(
    server: RedisServer, prefix: str, client: redis.Redis
) -> None:
    app = make(server.url, prefix)
    app.store.pool._most = 2
    in_threads(12, lambda number: app.tasks["note"].enqueue_many([(number,)] * 20))
    in_threads(12, lambda number: [app.tasks["note"].enqueue(number) for _ in range(20)])
    assert len(ready(client, app)) == 480
    assert len(app.store.pool._free) <= 2
    app.close()


def test_an_app_may_be_closed_and_used_as_often_as_one_likes(app: Ferryman, client: redis.Redis) -> None:
    app.store.pool._most = 2
    for number in range(5):
        app.tasks["note"].enqueue(number)
        app.close()
    assert len(ready(client, app)) == 5


def test_two_hundred_coroutines_enqueue_at_once(app: Ferryman, client: redis.Redis) -> None:
    async def all_at_once() -> list[Any]:
        return list(await asyncio.gather(*(app.tasks["note"].aenqueue(number) for number in range(200))))

    jobs = asyncio.run(all_at_once())
    assert len({job.local for job in jobs}) == 200
    assert set(ready(client, app)) == {job.local.encode() for job in jobs}


def connections(client: redis.Redis, name: str) -> int:
    listed: Any = client.client_list()
    return sum(1 for entry in listed if entry["name"] == name)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files in /proc")
def test_event_loops_that_come_and_go_leave_no_connections(
    server: RedisServer, prefix: str, client: redis.Redis
) -> None:
    app = make(f"{server.unix_url}?client_name={prefix}", prefix)
    asyncio.run(app.tasks["note"].aenqueue(0))
    wait_until(lambda: connections(client, prefix) == 0)
    open_files = len(os.listdir("/proc/self/fd"))
    for number in range(10):
        asyncio.run(app.tasks["note"].aenqueue(number))
    wait_until(lambda: connections(client, prefix) == 0)
    assert len(os.listdir("/proc/self/fd")) <= open_files
    app.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_was_closed_without_a_word_gives_its_connections_up(
    server: RedisServer, prefix: str, client: redis.Redis
) -> None:
    app = make(f"{server.unix_url}?client_name={prefix}", prefix)
    for number in range(5):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(app.tasks["note"].aenqueue(number))
        loop.close()
        del loop
    asyncio.run(app.tasks["note"].aenqueue(9))
    gc.collect()
    wait_until(lambda: connections(client, prefix) == 0)
    assert len(ready(client, app)) == 6


def test_aclose_ends_the_connections_of_this_loop(
    server: RedisServer, prefix: str, client: redis.Redis
) -> None:
    app = make(f"{server.unix_url}?client_name={prefix}", prefix)

    async def story() -> None:
        await asyncio.gather(*(app.tasks["note"].aenqueue(number) for number in range(8)))
        assert connections(client, prefix) > 0
        await app.aclose()
        await asyncio.to_thread(wait_until, lambda: connections(client, prefix) == 0)

    asyncio.run(asyncio.wait_for(story(), 10))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_connections_and_ids_of_its_own(
    server: RedisServer, prefix: str, client: redis.Redis
) -> None:
    app = make(f"{server.unix_url}?client_name={prefix}", prefix)
    task = app.tasks["note"]
    task.enqueue_many([(number,) for number in range(600)])
    lanes = [lane.name for lane in app.store.pool._free]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            jobs = [task.enqueue(number) for number in range(50)] + task.enqueue_many([(1,)] * 50)
            jobs.append(asyncio.run(task.aenqueue(3)))
            own = [lane.name for lane in app.store.pool._free]
            os.write(write, " ".join([*own, *(job.local for job in jobs)]).encode())
            status = 0
        finally:
            os._exit(status)
    parents = [task.enqueue(number) for number in range(50)] + task.enqueue_many([(1,)] * 50)
    assert os.waitpid(child, 0)[1] == 0
    os.close(write)
    with open(read) as pipe:
        lane, *locals_ = pipe.read().split()
    assert lane not in lanes
    assert not {job.local for job in parents} & set(locals_)
    assert task.enqueue(4).local
    assert len(ready(client, app)) == 600 + 50 + 50 + 101 + 1
    app.close()


def _enqueue_in_child(app: Ferryman, count: int) -> None:
    for number in range(count):
        app.tasks["note"].enqueue(number)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_children_forked_while_threads_enqueue_do_not_hang(app: Ferryman, client: redis.Redis) -> None:
    stop = threading.Event()

    def busily(_: int) -> None:
        while not stop.is_set():
            app.store.forget_clock()
            app.tasks["note"].enqueue(1)

    threads = [threading.Thread(target=busily, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        context = multiprocessing.get_context("fork")
        for _ in range(5):
            child = context.Process(target=_enqueue_in_child, args=(app, 5))
            child.start()
            child.join(20)
            assert child.exitcode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    ready(client, app)
