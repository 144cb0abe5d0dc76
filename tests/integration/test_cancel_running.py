"""Cancelling a job that runs: on threads, on the loop, stuck in C, and in every race with its end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman import Cancellation, Ferryman, JobCancelled, JobFailed, Retry, current_job
from ferryman.interrupts import Cancelled
from ferryman.worker.ear import Ear
from ferryman.worker.inprocess import InProcessWorker
from tests.integration.worker_fleet import Fleet
from tests.support.hand import Hand
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    """An app of this test's own on the shared server."""
    made = Ferryman(server.url, prefix=prefix)
    yield made
    made.close()


def left(app: Ferryman, queue: str = "default") -> int:
    """How many keys still know of a job of the queue."""
    keys = app.store.keys(queue)
    found: int = app.store.pool.command("EXISTS", keys.jobs, keys.cancels, keys.tries, keys.rank)
    return found


@pytest.mark.parametrize("kind", ["python loop", "sleeps", "coroutine"])
def test_a_running_job_is_interrupted_at_once_and_ends_cancelled(app: Ferryman, kind: str) -> None:
    begun = threading.Event()

    @app.task(retry=5, result_ttl=30)
    def loop() -> None:
        begun.set()
        while True:
            pass

    @app.task(retry=5, result_ttl=30)
    def sleeps() -> None:
        begun.set()
        while True:
            time.sleep(0.005)

    @app.task(retry=5, result_ttl=30)
    async def coroutine() -> None:
        begun.set()
        await asyncio.sleep(600)

    tasks: dict[str, Any] = {"python loop": loop, "sleeps": sleeps, "coroutine": coroutine}
    with InProcessWorker(app, threads=2) as worker:
        job = tasks[kind].enqueue()
        assert begun.wait(10)
        assert job.cancel() is False, "without running=True it is left alone"
        started = time.monotonic()
        assert job.cancel(running=True) is Cancellation.ASKED
        with pytest.raises(JobCancelled):
            job.result(10)
        assert time.monotonic() - started < app.settings.lease_s / 4, "it was heard, not found with a beat"
        info = job.info()
        assert (info.state, info.attempt, info.worker) == ("cancelled", 0, worker.holder)
        assert info.started_at is not None
        assert job.cancel(running=True) is Cancellation.ENDED
    assert left(app) == 0


def test_the_answer_tells_a_waiting_job_an_ended_one_and_one_that_never_was(app: Ferryman) -> None:
    @app.task(result_ttl=30)
    def nothing() -> None: ...

    waiting = nothing.options(delay=600).enqueue()
    assert waiting.cancel(running=True) is Cancellation.CANCELLED
    assert waiting.cancel(running=True) is Cancellation.ENDED
    unknown = app.job("01K9ZX3V8Q2M7RTB5N6DPA4CEW@default").cancel(running=True)
    assert unknown is Cancellation.UNKNOWN
    assert [bool(answer) for answer in Cancellation] == [True, True, False, False]


def test_the_asyncio_face_asks_as_well(app: Ferryman) -> None:
    begun = threading.Event()

    @app.task(result_ttl=30)
    async def wait() -> None:
        begun.set()
        await asyncio.sleep(600)

    async def ask() -> None:
        job = await wait.aenqueue()
        assert await asyncio.to_thread(begun.wait, 10)
        assert await job.acancel(running=True) is Cancellation.ASKED
        with pytest.raises(JobCancelled):
            await job.aresult(10)

    with InProcessWorker(app, threads=1):
        asyncio.run(ask())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_job_that_swallows_the_interrupt_and_returns_has_succeeded(app: Ferryman, is_async: bool) -> None:
    begun = threading.Event()

    @app.task(result_ttl=30)
    def stubborn() -> bool:
        try:
            begun.set()
            while True:
                time.sleep(0.005)
        except Cancelled:
            return current_job().cancelled

    @app.task(result_ttl=30)
    async def astubborn() -> bool:
        try:
            begun.set()
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return current_job().cancelled
        return False

    task: Any = astubborn if is_async else stubborn
    with InProcessWorker(app, threads=1):
        job = task.enqueue()
        assert begun.wait(10)
        assert job.cancel(running=True) is Cancellation.ASKED
        assert job.result(10) is True
        assert job.state == "succeeded"
    assert left(app) == 0


@pytest.mark.parametrize("end", ["raises", "retries", "last attempt"])
def test_a_job_that_fails_on_its_way_out_is_cancelled_and_runs_no_more(app: Ferryman, end: str) -> None:
    begun = threading.Event()
    runs: list[int] = []

    @app.task(retry=None if end == "last attempt" else Retry(5, delay=0.01), result_ttl=30)
    def clumsy() -> None:
        runs.append(1)
        try:
            begun.set()
            while True:
                time.sleep(0.005)
        except Cancelled:
            raise Retry(delay=0.01) if end == "retries" else ValueError("on the way out") from None

    with InProcessWorker(app, threads=1):
        job = clumsy.enqueue()
        assert begun.wait(10)
        job.cancel(running=True)
        with pytest.raises(JobCancelled):
            job.result(10)
    assert len(runs) == 1
    assert left(app) == 0


def test_a_job_that_was_fetched_and_has_not_begun_never_begins(app: Ferryman) -> None:
    begun, go = threading.Event(), threading.Event()
    ran: list[int] = []

    @app.task
    def quick() -> None: ...

    @app.task
    def first() -> None:
        begun.set()
        go.wait(60)

    @app.task(result_ttl=30)
    def second(number: int) -> None:
        ran.append(number)

    with InProcessWorker(app, threads=1) as worker:
        quick.enqueue_many([()] * 300)  # so that it fetches ahead
        first.enqueue()
        jobs = second.enqueue_many([(1,), (2,)])
        assert begun.wait(10)
        answer = jobs[0].cancel(running=True)
        assert answer  # held by the worker, or given back meanwhile: both end
        with pytest.raises(JobCancelled):
            jobs[0].result(10)
        go.set()
        jobs[1].result(10)
        wait_until(lambda: worker.done >= 303 - (answer is Cancellation.CANCELLED), 10)
    assert ran == [2]
    assert left(app) == 0


def test_a_lost_message_costs_no_more_than_a_heartbeat(
    server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ear, "start", lambda self: None)
    monkeypatch.setattr(Ear, "stop", lambda self, timeout: None)
    app = Ferryman(server.url, prefix=prefix, lease_s=2.0)
    begun = threading.Event()

    @app.task(result_ttl=30)
    def sleeps() -> None:
        begun.set()
        while True:
            time.sleep(0.005)

    with InProcessWorker(app, threads=1):
        job = sleeps.enqueue()
        assert begun.wait(10)
        job.cancel(running=True)
        with pytest.raises(JobCancelled):
            job.result(20)
    app.close()


def test_orders_are_heard_again_after_the_server_restarted(prefix: str) -> None:
    begun = threading.Event()
    with RedisServer(aof=True, args=["--appendfsync", "always"]) as server:
        app = Ferryman(server.url, prefix=prefix, lease_s=60.0, patience_s=10.0)

        @app.task(result_ttl=30)
        def sleeps() -> None:
            begun.set()
            while True:
                time.sleep(0.005)

        with InProcessWorker(app, threads=1):
            job = sleeps.enqueue()
            assert begun.wait(10)
            server.restart()
            channel, command = app.store.keys("default").orders, app.store.pool.command
            wait_until(lambda: command("PUBSUB", "NUMSUB", channel)[1] == 1, 20, "it listens again")
            assert job.cancel(running=True) is Cancellation.ASKED
            started = time.monotonic()
            with pytest.raises(JobCancelled):
                job.result(14)
            assert time.monotonic() - started < 13, "a beat comes every 15 s only"
        app.close()


@pytest.mark.parametrize("way", ["recover", "retry", "snooze", "release", "bury"])
def test_a_job_that_leaves_its_worker_with_a_request_pending_never_starts_again(
    app: Ferryman, way: str
) -> None:
    @app.task(result_ttl=30)
    def nothing() -> None: ...

    hand = Hand(app, "default")
    job = nothing.enqueue()
    assert hand.take() == [job.local]
    assert job.cancel(running=True) is Cancellation.ASKED
    hand.give_up(job.local, way)
    assert job.state == "cancelled"
    with pytest.raises(JobCancelled):
        job.result(1)
    assert hand.take() == []
    assert left(app) == 0


def test_a_success_that_was_under_way_stands(app: Ferryman) -> None:
    @app.task(result_ttl=30)
    def double(number: int) -> int:
        return number * 2

    hand = Hand(app, "default")
    job = double.enqueue(1)
    hand.take()
    assert job.cancel(running=True) is Cancellation.ASKED
    hand.finish(job.local, 2, task=double.name)
    assert job.result(1) == 2
    assert left(app) == 0


def test_many_races_of_a_cancel_with_the_end_leave_each_job_ended_and_nothing_behind(app: Ferryman) -> None:
    @app.task(result_ttl=30, retry=None)
    def short() -> str:
        return "done"

    with InProcessWorker(app, threads=4):
        for _ in range(150):
            job = short.enqueue()
            job.cancel(running=True)
            try:
                assert job.result(10) == "done"
            except JobCancelled:
                pass
            except JobFailed as error:  # pragma: no cover
                pytest.fail(f"an interrupt hit what it was not meant for: {error}")
        assert [short.enqueue().result(10) for _ in range(20)] == ["done"] * 20
    assert left(app) == 0


# -- real processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["nap", "anap", "hold_the_gil_for", "block_the_loop_for"])
def test_a_job_stuck_in_c_is_ended_by_force_and_its_neighbours_are_not_charged(
    server: RedisServer, prefix: str, tmp_path: Path, task: str
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "1", "-t", "2") as fleet:
        fleet.wait_ready()
        neighbour = fleet.tasks.mark_and_nap.enqueue(str(log), 1.2)
        wait_until(log.exists, 10)
        stuck = getattr(fleet.tasks, task).options(result_ttl=30).enqueue(60)
        wait_until(lambda: stuck.state == "running", 10)
        assert stuck.cancel(running=True) is Cancellation.ASKED
        with pytest.raises(JobCancelled):
            stuck.result(20)
        info = stuck.info()
        assert (info.attempt, info.crashes, info.attempts) == (0, 0, ())
        assert neighbour.result(20) == 1
        assert neighbour.info().crashes == 0
        if task == "anap":
            assert len(log.read_text().splitlines()) == 1, "a coroutine needs no force"
        assert left(fleet.app) == 0


def test_a_cancelled_job_whose_process_is_killed_meanwhile_is_not_run_again(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "1", "-t", "1", kill_after_s=60) as fleet:
        fleet.wait_ready()
        job = fleet.tasks.mark_and_nap.enqueue(str(log), 60)
        pid = int(wait_until(lambda: log.exists() and log.read_text(), 10))
        assert job.cancel(running=True) is Cancellation.ASKED  # time.sleep hears of nothing
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(JobCancelled):
            job.result(20)
        assert len(log.read_text().splitlines()) == 1
        assert left(fleet.app) == 0


def test_a_cancelled_job_that_a_drain_gives_back_is_cancelled(server: RedisServer, prefix: str) -> None:
    with Fleet(server.url, prefix, "-p", "1", "-t", "1", "--grace", "0.2s", kill_after_s=60) as fleet:
        fleet.wait_ready()
        job = fleet.tasks.nap.enqueue(60)
        wait_until(lambda: job.state == "running", 10)
        assert job.cancel(running=True) is Cancellation.ASKED
        fleet.send(signal.SIGTERM)
        fleet.end()
        assert job.state == "cancelled"
        assert left(fleet.app) == 0
