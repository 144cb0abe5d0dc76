"""Inline: each job runs at the call that enqueues it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from ferryman import EnqueueRequest, Ferryman, InvalidArguments, Retry, Snooze, UnknownTask, current_job
from ferryman.testing import attach, inline


@pytest.fixture
def app() -> Ferryman:
    return Ferryman("redis://127.0.0.1:1/0", patience_s=0)


def test_a_job_runs_at_the_call_in_the_callers_thread_and_its_result_is_there(app: Ferryman) -> None:
    @app.task
    def where(word: str) -> list[str]:
        return [word, threading.current_thread().name, current_job().id]

    with inline(app):
        job = where.enqueue("here")
        assert job.result() == ["here", threading.current_thread().name, job.id]
        assert job.state == "succeeded"


def test_an_async_task_runs_at_the_call_with_or_without_a_running_loop(app: Ferryman) -> None:
    @app.task
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    async def within() -> tuple[int, int]:
        return await (await double.aenqueue(2)).aresult(), double.enqueue(3).result()

    with inline(app):
        assert double.enqueue(1).result() == 2
        assert asyncio.run(within()) == (4, 6)


def test_arguments_travel_as_they_would(app: Ferryman) -> None:
    got: list[Any] = []

    @app.task
    def take(items: list[int]) -> None:
        got.append(items)

    given = [1]
    with inline(app):
        take.enqueue(given)
        assert got == [[1]]
        assert got[0] is not given
        with pytest.raises(InvalidArguments):
            take.enqueue("no list")  # type: ignore[arg-type]


def test_a_failure_raises_at_the_call_and_its_retry_is_scheduled(app: Ferryman) -> None:
    @app.task(retry=Retry(1))
    def fail() -> None:
        raise ValueError("as expected")

    with inline(app) as kit:
        with pytest.raises(ValueError, match="as expected"):
            fail.enqueue()
        (job,) = kit.jobs(state="scheduled")
        assert (job.attempt, job.error) == (1, "ValueError: as expected")
        assert kit.drain(ahead=timedelta(minutes=1)).dead == 1


def test_a_failure_is_recorded_instead_on_demand(app: Ferryman) -> None:
    @app.task(retry=None)
    def fail() -> None:
        raise ValueError("as expected")

    with inline(app, raise_on_failure=False) as kit:
        job = fail.enqueue()
        assert (job.state, str(kit.runs[0].error)) == ("dead", "as expected")


def test_a_snooze_is_no_failure_and_a_delay_is_not_waited_for(app: Ferryman) -> None:
    @app.task
    def later() -> str:
        raise Snooze(60)

    @app.task
    def soon() -> str:
        return "ran"

    with inline(app):
        assert later.enqueue().state == "scheduled"
        assert soon.options(delay=3600).enqueue().result() == "ran"


def test_a_job_may_enqueue_another_and_use_its_result(app: Ferryman) -> None:
    @app.task
    def inner(n: int) -> int:
        return n + 1

    @app.task
    def outer(n: int) -> str:
        before = current_job().id
        value = inner.enqueue(n).result(timeout=5)
        assert current_job().id == before
        return f"{value}"

    with inline(app):
        assert outer.enqueue(1).result() == "2"


def test_many_run_once_each_with_and_without_hooks(app: Ferryman) -> None:
    got: list[int] = []

    @app.task
    def take(n: int) -> None:
        got.append(n)

    with inline(app) as kit:
        take.enqueue_many([(1,), (2,)])
        asyncio.run(take.aenqueue_many([(3,)]))

        @app.around_enqueue
        def count(request: Any) -> Iterator[None]:
            got.append(0)
            yield

        take.enqueue_many([(4,), (5,)])
        assert len(kit.runs) == 5
    assert got == [1, 2, 3, 0, 4, 0, 5]


@pytest.mark.parametrize("of", ["app", "task"])
def test_an_async_enqueue_hook_wraps_the_asyncio_face(app: Ferryman, of: str) -> None:
    log: list[str] = []

    @app.task
    def work() -> None:
        log.append("runs")

    @(app if of == "app" else work).around_enqueue
    async def note(request: EnqueueRequest) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        log.append(request.task.rpartition(".")[2])
        yield
        log.append("handed over")

    with inline(app):
        asyncio.run(work.aenqueue())
    assert log == ["work", "handed over", "runs"]


def test_an_enqueue_hook_has_ended_before_the_job_runs(app: Ferryman) -> None:
    log: list[str] = []

    @app.around_enqueue
    def note(request: Any) -> Iterator[None]:
        log.append("handing over")
        yield
        log.append("handed over")

    @app.task
    def work() -> None:
        log.append("runs")

    with inline(app):
        work.enqueue()
    assert log == ["handing over", "handed over", "runs"]


def test_a_job_by_the_name_of_an_unknown_task_raises(app: Ferryman) -> None:
    with inline(app), pytest.raises(UnknownTask, match="elsewhere:task"):
        app.queue("mail").enqueue("elsewhere:task")


def test_inline_within_a_kit_uses_that_kit_and_leaves_its_jobs_alone(app: Ferryman) -> None:
    @app.task
    def name(n: int) -> int:
        return n

    with attach(app) as kit:
        waiting = name.enqueue(1)
        with inline(app) as same:
            assert same is kit
            assert name.enqueue(2).result() == 2
        after = name.enqueue(3)
        assert [job.state for job in (waiting, after)] == ["queued", "queued"]
        assert kit.drain().succeeded == 2
        assert [run.value for run in kit.runs] == [2, 1, 3]
