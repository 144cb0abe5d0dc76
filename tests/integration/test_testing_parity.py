"""The testing kit against a worker on a real server: the same jobs come to the same ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ferryman import Ferryman, Job, JobError, JobNotFound, NoResult, Reject, Retry, Snooze, current_job
from ferryman.testing import attach
from ferryman.worker.inprocess import InProcessWorker
from tests.integration.test_examples import example
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    """An app of this test's own on the shared server."""
    made = Ferryman(server.url, prefix=prefix)
    yield made
    made.close()


def story(app: Ferryman) -> Callable[[], list[Job[Any]]]:
    """Register tasks that end in every way there is; gives what enqueues them."""
    first, second = calm(app), troubled(app)
    return lambda: first() + second()


def calm(app: Ferryman) -> Callable[[], list[Job[Any]]]:
    """Tasks that do what they should, in the end."""

    @app.task(name="story:once", retry=None)
    def once(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(name="story:awaited")
    async def awaited(word: str = "oar") -> dict[str, Any]:
        return {word: current_job().attempt, "meta": dict(current_job().meta)}

    @app.task(name="story:second_time", retry=Retry(2, delay=0))
    def second_time() -> str:
        if current_job().attempt == 1:
            raise ValueError("the first time")
        return "done"

    snoozed: list[str] = []

    @app.task(name="story:snoozed")
    def sleepy() -> int:
        if not snoozed:
            snoozed.append(current_job().id)
            raise Snooze(0.01)
        return current_job().attempt

    return lambda: [
        once.enqueue([1, 2]),
        once.options(priority=3, result_ttl=0).enqueue([3]),
        awaited.options(meta={"tenant": 7}, tags=["a"]).enqueue(word="mast"),
        second_time.enqueue(),
        sleepy.enqueue(),
    ]


def troubled(app: Ferryman) -> Callable[[], list[Job[Any]]]:
    """Tasks whose jobs die, or nearly."""

    @app.task(name="story:never", retry=Retry(1, delay=0))
    def never(number: int) -> int:
        return 1 // number

    @app.task(name="story:rejected")
    def rejected() -> None:
        raise Reject("no")

    @app.task(name="story:asked", retry=Retry(1))
    def asked() -> str:
        if current_job().attempt == 1:
            raise Retry(delay=0.01)
        return "asked for it"

    @app.task(name="story:unreturnable", retry=3)
    def unreturnable() -> list[object]:
        return [object()]

    return lambda: [never.enqueue(0), rejected.enqueue(), asked.enqueue(), unreturnable.enqueue()]


def end_of(job: Job[Any]) -> Any:
    """What is known of an ended job, without what differs by chance; None while it has not ended."""
    try:
        info = job.info()
    except JobNotFound:
        return "no trace"
    if info.state not in ("succeeded", "dead"):
        return None
    try:
        result = job.result(timeout=0)
    except JobError as error:
        result = (type(error), error.error)
    except NoResult:
        result = None
    attempts = [(one.number, one.outcome, one.error, one.traceback, one.fingerprint) for one in info.attempts]
    return info.state, info.task, info.attempt, info.args, info.kwargs, info.tags, info.meta, result, attempts


def test_the_kit_and_a_worker_bring_every_job_to_the_same_end(app: Ferryman) -> None:
    enqueue = story(app)
    with attach(app) as kit:
        jobs = enqueue()
        kit.drain(ahead=60)
        in_the_kit = [end_of(job) for job in jobs]
        assert None not in in_the_kit

    other = Ferryman(app.settings.url, prefix=app.settings.prefix)
    enqueue = story(other)
    with InProcessWorker(other, threads=2):
        jobs = enqueue()
        wait_until(lambda: all(end_of(job) for job in jobs), timeout=20)
        at_work = [end_of(job) for job in jobs]
    other.close()

    assert in_the_kit == at_work


def test_the_quickstart_runs_with_a_worker(
    server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quickstart = example("quickstart", monkeypatch, url=server.url, prefix=prefix)
    with InProcessWorker(quickstart.app, queues=["mail"]):
        quickstart.main()
    quickstart.app.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Willkommen, user 42!"
    assert "unless it is cancelled: True" in lines[2]
    assert lines[3] == "1000 jobs more; the last says 'Welcome, user 999!'"
