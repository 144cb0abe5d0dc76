"""A worker's machinery against a real server, without a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ferryman import Ferryman, JobFailed, Reject, Retry, Snooze, current_job, envelope
from ferryman.interrupts import TimeLimit
from ferryman.store import transitions
from ferryman.worker.inprocess import InProcessWorker
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    """An app of this test's own on the shared server."""
    made = Ferryman(server.url, prefix=prefix)
    yield made
    made.close()


def test_sync_tasks_run_on_threads_and_async_tasks_on_one_loop(app: Ferryman) -> None:
    @app.task
    def on_thread() -> str:
        return threading.current_thread().name

    @app.task
    async def on_loop() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    with InProcessWorker(app, threads=2):
        assert on_thread.enqueue().result(5).startswith("ferryman-slot-")
        assert on_loop.enqueue().result(5) == "ferryman-loop"


def test_many_jobs_each_run_once_and_nothing_is_left(app: Ferryman) -> None:
    seen: list[int] = []

    @app.task
    def note(number: int) -> None:
        seen.append(number)

    note.enqueue_many([(number,) for number in range(5000)])
    worker = InProcessWorker(app, threads=4, burst=True).start()
    assert worker.join(30)
    worker.stop()

    assert sorted(seen) == list(range(5000))
    info = app.queue("default").info()
    assert (info.queued, info.running, info.workers) == (0, 0, 0)
    assert app.store.pool.command("HLEN", app.store.keys("default").jobs) == 0


def test_many_async_jobs_run_at_the_same_time(app: Ferryman) -> None:
    @app.task(result_ttl=30)
    async def wait() -> None:
        await asyncio.sleep(0.3)

    with InProcessWorker(app, threads=1, concurrency=50):
        started = time.monotonic()
        jobs = wait.enqueue_many([()] * 50)
        for job in jobs:
            job.result(5)
        assert time.monotonic() - started < 2.0


def test_the_job_is_at_hand_inside_the_task(app: Ferryman) -> None:
    @app.task(result_ttl=30)
    def who() -> list[Any]:
        job = current_job()
        return [job.id, job.attempt, job.meta["for"], job.worker]

    with InProcessWorker(app) as worker:
        job = who.options(meta={"for": "you"}).enqueue()
        assert job.result(5) == [job.id, 1, "you", worker.holder]


def test_context_variables_do_not_leak_into_the_next_job(app: Ferryman) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")

    @app.task
    def dirty() -> str:
        before = variable.get()
        variable.set("dirty")
        return before

    with InProcessWorker(app, threads=1):
        assert [dirty.enqueue().result(5) for _ in range(3)] == ["clean"] * 3


def test_a_failing_job_is_retried_as_often_as_allowed_and_then_dead_with_its_history(app: Ferryman) -> None:
    @app.task(retry=Retry(2, delay=0.01))
    def fail() -> None:
        raise ValueError("no luck")

    with InProcessWorker(app):
        job = fail.enqueue()
        wait_until(lambda: job.state == "dead")
    info = job.info()
    assert [record.number for record in info.attempts] == [1, 2, 3]
    assert info.error == "ValueError: no luck"
    assert "raise ValueError" in (info.traceback or "")
    assert len({record.fingerprint for record in info.attempts}) == 1


def test_a_retried_job_that_succeeds_leaves_nothing_behind(app: Ferryman) -> None:
    @app.task(retry=Retry(3, delay=0.01))
    def second_time() -> None:
        if current_job().attempt == 1:
            raise ValueError

    with InProcessWorker(app) as worker:
        job = second_time.enqueue()
        wait_until(lambda: worker.done == 2)
    keys = app.store.keys("default")
    assert app.store.pool.command("EXISTS", keys.jobs, keys.tries, keys.attempts(job.local)) == 0


def test_a_task_may_ask_for_a_retry_snooze_or_reject_its_job(app: Ferryman) -> None:
    snoozed: list[int] = []

    @app.task(result_ttl=30)
    def retry() -> int:
        if current_job().attempt < 3:
            raise Retry(delay=0.01)
        return current_job().attempt

    @app.task(result_ttl=30)
    def snooze() -> int:
        snoozed.append(1)
        if len(snoozed) < 3:
            raise Snooze(0.01)
        return current_job().attempt

    @app.task(retry=5)
    def reject() -> None:
        raise Reject("never")

    with InProcessWorker(app):
        assert retry.enqueue().result(5) == 3
        assert snooze.enqueue().result(5) == 1
        rejected = reject.enqueue()
        wait_until(lambda: rejected.state == "dead")
    assert [record.outcome for record in rejected.info().attempts] == ["rejected"]


def test_system_exit_in_a_task_fails_the_job_and_not_the_worker(app: Ferryman) -> None:
    @app.task(retry=None)
    def leave() -> None:
        raise SystemExit(3)

    @app.task
    def fine() -> int:
        return 1

    with InProcessWorker(app, threads=1):
        job = leave.enqueue()
        assert fine.enqueue().result(5) == 1
        wait_until(lambda: job.state == "dead")


def test_a_result_that_cannot_travel_makes_the_job_dead_without_running_it_again(app: Ferryman) -> None:
    runs: list[int] = []

    @app.task(result_ttl=30, retry=5)
    def big() -> str:
        runs.append(1)
        return "x" * (app.settings.max_payload + 1)

    with InProcessWorker(app), pytest.raises(JobFailed, match="max_payload"):
        big.enqueue().result(5)
    assert len(runs) == 1


@pytest.mark.parametrize("kind", ["python loop", "sleeps", "coroutine"])
def test_a_soft_timeout_ends_the_attempt_and_not_its_neighbours(app: Ferryman, kind: str) -> None:
    @app.task(timeout=0.2, retry=None)
    def loop() -> None:
        while True:
            pass

    @app.task(timeout=0.2, retry=None)
    def sleeps() -> None:
        for _ in range(1000):
            time.sleep(0.01)

    @app.task(timeout=0.2, retry=None)
    async def coroutine() -> None:
        await asyncio.sleep(60)

    @app.task
    def neighbour() -> int:
        time.sleep(0.4)
        return 1

    with InProcessWorker(app, threads=2):
        beside = neighbour.enqueue()
        job = {"python loop": loop, "sleeps": sleeps, "coroutine": coroutine}[kind].enqueue()
        wait_until(lambda: job.state == "dead")
        assert beside.result(5) == 1
        assert neighbour.enqueue().result(5) == 1
    info = job.info()
    assert info.attempts[0].outcome == "timeout"
    assert "timeout of 0.2 s" in (info.error or "")


def test_an_except_exception_does_not_swallow_a_timeout_and_cleanup_runs(app: Ferryman) -> None:
    cleaned: list[type[BaseException]] = []

    @app.task(timeout=0.1, retry=None)
    def stubborn() -> None:
        try:
            while True:
                with contextlib.suppress(Exception):
                    time.sleep(0.005)
        except TimeLimit as error:
            cleaned.append(type(error))
            raise

    with InProcessWorker(app, threads=1):
        job = stubborn.enqueue()
        wait_until(lambda: job.state == "dead")
    assert cleaned == [TimeLimit]


def test_a_delayed_job_starts_within_milliseconds_of_its_time(app: Ferryman) -> None:
    late: list[float] = []

    @app.task
    def note(due: float) -> None:
        late.append(time.time() - due)

    with InProcessWorker(app):
        for delay in (0.1, 0.25, 0.4, 0.42, 0.6):
            note.options(delay=timedelta(seconds=delay)).enqueue(time.time() + delay)
        wait_until(lambda: len(late) == 5)
    assert min(late) > -0.005
    assert min(late) < 0.05, late  # the others may have met a machine that was busy


def test_an_earlier_delayed_job_is_not_held_up_by_a_later_one(app: Ferryman) -> None:
    @app.task
    def now() -> float:
        return time.time()

    with InProcessWorker(app):
        now.options(delay=3600).enqueue()
        started = time.time()
        assert now.options(delay=0.2).enqueue().result(5) - started < 1.0


def test_strict_queues_are_worked_in_their_order(app: Ferryman) -> None:
    order: list[str] = []

    @app.task
    def note(name: str) -> None:
        order.append(name)

    for name in ("low", "middle", "high"):
        note.options(queue=name).enqueue_many([(name,)] * 20)
    worker = InProcessWorker(app, ["high", "middle", "low"], threads=1, burst=True).start()
    assert worker.join(10)
    worker.stop()
    assert order[:20] == ["high"] * 20
    assert order[-20:] == ["low"] * 20


def test_weighted_queues_share_by_their_weights(app: Ferryman) -> None:
    order: list[str] = []

    @app.task
    def note(name: str) -> None:
        order.append(name)
        time.sleep(0.002)

    for name in ("much", "little"):
        note.options(queue=name).enqueue_many([(name,)] * 200)
    worker = InProcessWorker(app, "much:3,little:1", threads=2, burst=True).start()
    assert worker.join(20)
    worker.stop()
    assert 0.6 < order[:160].count("much") / 160 < 0.9
    assert len(order) == 400


def test_jobs_that_wait_behind_long_ones_are_given_back_for_other_workers(app: Ferryman) -> None:
    release = threading.Event()

    @app.task(result_ttl=30)
    def quick() -> int:
        return 1

    @app.task
    def long() -> None:
        release.wait(20)

    first = InProcessWorker(app, threads=1)
    quick.enqueue_many([()] * 3000)
    long.enqueue()
    jobs = quick.enqueue_many([()] * 20)
    with first:
        wait_until(lambda: app.queue("default").info().queued == 20, 20, "the rest was given back")
        with InProcessWorker(app, threads=1):
            assert [job.result(5) for job in jobs] == [1] * 20
        release.set()


def test_a_long_job_is_never_hoarded(app: Ferryman) -> None:
    release = threading.Event()

    @app.task
    def long() -> None:
        release.wait(20)

    long.enqueue_many([()] * 10)
    with InProcessWorker(app, threads=3):
        wait_until(lambda: app.queue("default").info().running == 3)
        time.sleep(0.1)  # what must not happen needs a while in which it could
        assert app.queue("default").info().running == 3
        release.set()


def test_a_paused_queue_is_left_alone_and_resumed_at_once(app: Ferryman) -> None:
    @app.task
    def task() -> int:
        return 1

    with InProcessWorker(app):
        assert task.enqueue().result(5) == 1
        app.queue("default").pause("maintenance")
        job = task.enqueue()
        time.sleep(0.2)  # what must not happen needs a while in which it could
        assert job.state == "queued"
        started = time.monotonic()
        app.queue("default").resume()
        assert job.result(5) == 1
        assert time.monotonic() - started < 1.0


def test_an_expired_job_is_not_run(app: Ferryman) -> None:
    ran: list[int] = []

    @app.task
    def task() -> None:
        ran.append(1)

    job = task.options(expires=0.05).enqueue()
    time.sleep(0.1)  # its time must pass
    with InProcessWorker(app):
        wait_until(lambda: job.state == "expired")
    assert not ran


def test_an_unknown_task_is_put_off_with_its_reason_and_dead_in_the_end(
    server: RedisServer, prefix: str
) -> None:
    app = Ferryman(server.url, prefix=prefix, unknown_task_limit=0)
    job = app.queue("default").enqueue("shop.mail:not_here", 1)
    other = Ferryman(server.url, prefix=prefix)
    with InProcessWorker(other, ["default"]):
        wait_until(lambda: job.state == "scheduled")
        assert "knows no task 'shop.mail:not_here'" in (job.info().error or "")
    job.retry()
    with InProcessWorker(app, ["default"]):
        wait_until(lambda: job.state == "dead")
    app.close()
    other.close()


def test_an_unreadable_job_is_dead_and_its_neighbours_run(app: Ferryman) -> None:
    @app.task
    def fine() -> int:
        return 1

    keys = app.store.keys("default")
    newer = envelope._version.decode(b"\x93\x02\xa1x\xc0")
    assert newer[0] == 2
    bodies: list[str | bytes] = ["broken", b"\xff\x00rubbish", "newer", b"\x93\x02\xa1x\xc0"]
    app.store.run(transitions.enqueue(keys, "", 0, bodies))
    with InProcessWorker(app):
        assert fine.enqueue().result(5) == 1
        wait_until(lambda: app.job("broken@default").state == "dead")
        wait_until(lambda: app.job("newer@default").state == "scheduled")


def test_a_job_of_a_kind_that_a_worker_has_no_slots_for_is_left_to_others(app: Ferryman) -> None:
    @app.task
    async def on_loop() -> int:
        return 1

    @app.task
    def on_thread() -> int:
        return 2

    with InProcessWorker(app, threads=1, concurrency=0):
        job = on_loop.enqueue()
        assert on_thread.enqueue().result(5) == 2
        with InProcessWorker(app, threads=0, concurrency=1):
            assert job.result(20) == 1
            assert on_thread.enqueue().result(20) == 2


def test_the_counters_of_the_minute_add_up(app: Ferryman) -> None:
    @app.task(name="fine")
    def fine() -> None:
        pass

    @app.task(name="bad", retry=None)
    def bad() -> None:
        raise ValueError

    fine.enqueue_many([()] * 30)
    bad.enqueue_many([()] * 3)
    worker = InProcessWorker(app, burst=True).start()
    worker.join(10)
    worker.stop()
    totals: dict[bytes, int] = {}
    minute = app.store.server_ms() // 60_000
    for one in (minute - 1, minute):
        flat: Any = app.store.pool.command("HGETALL", app.store.keys("default").stats(one))
        for name, value in zip(flat[::2], flat[1::2], strict=True):
            totals[name] = totals.get(name, 0) + int(value)
    assert totals[b"ok:fine"] == 30
    assert totals[b"failed:bad"] == 3
    assert totals[b"dead:bad"] == 3


def test_a_worker_says_what_it_is_and_is_forgotten_when_it_ends(app: Ferryman) -> None:
    @app.task
    def task() -> int:
        return 1

    fleet = app.store.fleet_keys
    with InProcessWorker(app, name="web-1") as worker:
        assert task.enqueue().result(5) == 1
        assert worker.holder.startswith("web-1-")
        wait_until(lambda: app.store.pool.command("EXISTS", fleet.worker(worker.holder)), 10)
        holder = worker.holder
    assert app.store.pool.command("EXISTS", fleet.worker(holder)) == 0
    assert app.store.pool.command("ZCARD", fleet.fleet) == 0
    assert app.store.pool.command("SMEMBERS", app.store.keys("default").holders) == []


def test_stop_without_drain_gives_running_jobs_back_uncharged(app: Ferryman) -> None:
    started = threading.Event()

    @app.task
    def long() -> None:
        started.set()
        for _ in range(2000):
            time.sleep(0.01)

    worker = InProcessWorker(app, threads=1).start()
    job = long.enqueue()
    assert started.wait(5)
    before = time.monotonic()
    assert worker.stop(drain=False) is False
    assert time.monotonic() - before < 3
    info = job.info()
    assert (info.state, info.attempt, info.attempts) == ("queued", 0, ())


def test_stop_gives_back_what_has_not_begun_and_waits_for_what_runs(app: Ferryman) -> None:
    started = threading.Event()

    @app.task(result_ttl=30)
    def quick() -> int:
        return 1

    @app.task(result_ttl=30)
    def long() -> int:
        started.set()
        time.sleep(0.5)
        return 2

    worker = InProcessWorker(app, threads=1).start()
    job = long.enqueue()
    assert started.wait(5)
    rest = quick.enqueue_many([()] * 10)
    assert worker.stop() is True
    assert job.result(1) == 2
    assert {one.state for one in rest} == {"queued"}


def test_startup_and_shutdown_hooks_run_once_sync_and_async(app: Ferryman) -> None:
    calls: list[str] = []

    @app.on_startup
    async def begin() -> None:
        calls.append("begin")

    @app.on_shutdown
    def end() -> None:
        calls.append("end")

    @app.task
    def task() -> int:
        calls.append("job")
        return 1

    with InProcessWorker(app):
        assert task.enqueue().result(5) == 1
    assert calls == ["begin", "job", "end"]


def test_around_hooks_wrap_each_attempt(app: Ferryman) -> None:
    calls: list[str] = []

    @app.around_run
    def outer(job: Any) -> Iterator[None]:
        calls.append(f"before {job.task}")
        yield
        calls.append("after")

    @app.task(name="inner", result_ttl=30)
    def inner() -> None:
        calls.append("run")

    with InProcessWorker(app):
        inner.enqueue().result(5)
    assert calls == ["before inner", "run", "after"]


def test_a_queue_worked_shortest_first_learns_how_long_its_tasks_take(app: Ferryman) -> None:
    app.queue("sorted", order="shortest")

    @app.task(queue="sorted", name="twenty")
    def twenty() -> None:
        time.sleep(0.02)

    with InProcessWorker(app):
        twenty.enqueue()
        key = app.store.keys("sorted").durations
        micros = wait_until(lambda: app.store.pool.command("HGET", key, "twenty"), 10)
    assert 15_000 < int(micros) < 200_000
