"""Code of users that a type checker must accept, with the types it must find."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from ferryman import Cancellation, Ferryman, Job, JobContext, JobInfo, Queue, Retry, current_job
from ferryman.task import AsyncTask, Bound, Task
from ferryman.testing import Drained, Kit, Run, attach, inline

app = Ferryman("redis://localhost:6379/0", result_ttl_s=60)


@app.task
def plain(user_id: int) -> str:
    return str(user_id)


@app.task(queue="mail", retry=Retry(5, delay=[1, timedelta(minutes=1)]), timeout=30, tags=["mail"])
def send(user_id: int, *, subject: str = "hello") -> list[str]:
    return [subject] * user_id


@app.task(queue="mail")
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task
async def nothing() -> None: ...


def enqueueing() -> None:
    assert_type(plain.enqueue(1), Job[str])
    assert_type(send.enqueue(1, subject="hi"), Job[list[str]])
    assert_type(send.enqueue(user_id=1).result(timeout=5), list[str])
    assert_type(send.enqueue_many([(1,), (2,)]), list[Job[list[str]]])
    assert_type(
        send.options(delay=60, priority=5, at=datetime.now(UTC), id="mine").enqueue(1), Job[list[str]]
    )
    assert_type(plain.options(delay=timedelta(hours=1)).options(meta={"a": 1}).enqueue(1), Job[str])
    assert_type(fetch.enqueue("u"), Job[bytes])
    assert_type(fetch.enqueue("u").result(), bytes)
    assert_type(fetch.options(timeout=None).enqueue(url="u").result(), bytes)
    assert_type(nothing.enqueue(), Job[None])
    assert_type(app.queue("mail").enqueue("shop.mail:send", 42), Job[Any])
    assert_type(app.queue("mail"), Queue)
    assert_type(plain.enqueue(1).cancel(), bool)
    assert_type(plain.enqueue(1).cancel(running=True), Cancellation)


async def enqueueing_on_a_loop() -> None:
    assert_type(await plain.aenqueue(1), Job[str])
    assert_type(await fetch.aenqueue("u"), Job[bytes])
    assert_type(await (await fetch.aenqueue("u")).aresult(timeout=5), bytes)
    assert_type(await send.options(delay=1).aenqueue(1, subject="hi"), Job[list[str]])
    assert_type(await send.aenqueue_many([(1,)]), list[Job[list[str]]])
    assert_type(await (await plain.aenqueue(1)).ainfo(), JobInfo)


async def calling_as_if_not_decorated() -> None:
    assert_type(plain(1), str)
    assert_type(send(1, subject="hi"), list[str])
    assert_type(await fetch("u"), bytes)


def passing_tasks_on(task: Task[[int], str], *others: AsyncTask[[str], bytes]) -> Bound[[int], str]:
    return task.options(queue="other") if others else plain.options(queue="mail")


passing_tasks_on(plain, fetch)


@app.on_startup
async def begin() -> int:
    return 1


@app.around_run
def timed(job: JobContext) -> Iterator[None]:
    assert_type(current_job(), JobContext)
    yield


@fetch.around_run
async def traced(job: JobContext) -> AsyncIterator[None]:
    yield


async def hooks_keep_their_types() -> None:
    assert_type(await begin(), int)


def testing() -> None:
    with attach(app) as kit:
        assert_type(kit, Kit)
        assert_type(kit.drain("mail", ahead=timedelta(days=1)), Drained)
        assert_type(kit.step(), Run | None)
        assert_type(kit.assert_enqueued(send, 1, subject="hi", within=60), JobInfo)
    with inline(app) as kit:
        assert_type(kit, Kit)
