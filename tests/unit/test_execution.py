"""One attempt, from its envelope to an outcome."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from ferryman import ConfigurationError, Ferryman, Reject, Retry, Snooze, UnknownTask, current_job, envelope
from ferryman.execution import Attempt, execute_async, execute_sync, prepare
from ferryman.interrupts import ShuttingDown, TimeLimit
from ferryman.outcome import Failed, Outcome, Released, Snoozed, Succeeded


def attempt_of(fn: Callable[..., Any], *args: Any, app: Ferryman | None = None, **options: Any) -> Attempt:
    app = app or Ferryman("memory://")
    task = app.task(name="it", **options)(fn)
    letter = envelope.Envelope(1, "it", msgspec.Raw(msgspec.msgpack.encode(args)), envelope.NO_KWARGS, 5)
    return prepare(app, task.defaults.queue, b"id", envelope.encode(letter), made=2, worker="w-1")


def run(attempt: Attempt) -> Outcome:
    if attempt.task.is_async:
        return asyncio.run(execute_async(attempt))
    return contextvars.copy_context().run(execute_sync, attempt)


def test_what_a_task_returns_is_its_success() -> None:
    async def double(number: int) -> int:
        return number * 2

    assert run(attempt_of(lambda: None)) == Succeeded(None)
    assert run(attempt_of(lambda number: number + 1, 4)) == Succeeded(5)
    assert run(attempt_of(double, 4)) == Succeeded(8)


def test_a_task_of_whose_code_nothing_ran_has_not_succeeded() -> None:
    def undecided(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper() -> Any:
            return fn()

        return wrapper

    async def coroutine() -> None:
        raise AssertionError

    def generator() -> Iterator[int]:
        yield 1

    async def agenerator() -> AsyncIterator[int]:
        yield 1

    async def twice() -> Any:
        return coroutine()

    for fn, what in (
        (undecided(coroutine), "coroutine"), (undecided(generator), "generator"),
        (undecided(agenerator), "generator"), (twice, "coroutine"),
    ):  # fmt: skip
        outcome = run(attempt_of(fn))
        assert isinstance(outcome, Failed)
        assert outcome.kind == "rejected", "it would come to the same again"
        assert f"the task returned a {what} that nobody" in str(outcome.error)
    for refused in (generator, agenerator):
        with pytest.raises(ConfigurationError, match="'it' is a generator function"):
            attempt_of(refused)


@pytest.mark.parametrize(
    "raised, kind",
    [
        (ValueError("x"), "failed"),
        (SystemExit(1), "failed"),
        (KeyboardInterrupt(), "failed"),
        (Retry(delay=1), "retry"),
        (Reject("no"), "rejected"),
        (TimeLimit(), "timeout"),
    ],
)
def test_whatever_a_task_raises_comes_back_as_a_value(raised: BaseException, kind: str) -> None:
    def sync() -> None:
        raise raised

    async def coroutine() -> None:
        raise raised

    for fn in (sync, coroutine):
        outcome = run(attempt_of(fn, timeout=3))
        assert isinstance(outcome, Failed)
        assert (outcome.kind, outcome.error) == (kind, raised)


def test_a_snooze_and_a_shutdown_are_no_failures() -> None:
    def snooze() -> None:
        raise Snooze(3)

    def shut_down() -> None:
        raise ShuttingDown

    assert run(attempt_of(snooze)) == Snoozed(3.0)
    assert run(attempt_of(shut_down)) == Released()


def test_a_cancellation_by_the_worker_is_told_from_the_tasks_own() -> None:
    async def cancel_itself() -> None:
        raise asyncio.CancelledError

    async def wait() -> None:
        await asyncio.sleep(60)

    outcome = run(attempt_of(cancel_itself))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, asyncio.CancelledError)

    async def timed_out() -> Outcome:
        attempt = attempt_of(wait, timeout=3)
        task = asyncio.create_task(execute_async(attempt))
        await asyncio.sleep(0)
        attempt.interrupt = TimeLimit
        task.cancel()
        return await task

    outcome = asyncio.run(timed_out())
    assert isinstance(outcome, Failed)
    assert outcome.kind == "timeout"
    assert str(outcome.error) == "the attempt ran longer than its timeout of 3 s"


def test_arguments_that_do_not_fit_are_a_failure_and_damaged_ones_a_rejection() -> None:
    def typed(number: int) -> None:
        raise AssertionError("not called")

    outcome = run(attempt_of(typed, "text"))
    assert isinstance(outcome, Failed)
    assert outcome.kind == "failed"

    attempt = attempt_of(typed, 1)
    letter = envelope.Envelope(1, "it", msgspec.Raw(b"\x91\xc1"), envelope.NO_KWARGS, 0)
    broken = Attempt(attempt.app, attempt.task, letter, b"id", "default", 0, "w")
    outcome = run(broken)
    assert isinstance(outcome, Failed)
    assert outcome.kind == "rejected"


def test_the_context_tells_the_job_and_ends_with_the_attempt() -> None:
    seen: list[Any] = []

    def look() -> None:
        job = current_job()
        seen.extend([job.id, job.task, job.attempt, job.worker])

    run(attempt_of(look))
    assert seen == ["id@default", "it", 3, "w-1"]
    with pytest.raises(LookupError):
        current_job()


def test_the_task_must_be_known() -> None:
    letter = envelope.Envelope(1, "nobody", msgspec.Raw(b"\x90"), envelope.NO_KWARGS, 0)
    with pytest.raises(UnknownTask):
        prepare(Ferryman("memory://"), "default", b"id", envelope.encode(letter))


def test_a_calls_timeout_goes_before_the_tasks() -> None:
    app = Ferryman("memory://")
    task = app.task(name="it", timeout=5)(lambda: None)
    for options, expected in (
        (None, 5.0),
        ({"timeout": 9.0}, 9.0),
        ({"timeout": None}, None),
        ({"x": 1}, 5.0),
    ):
        letter = envelope.Envelope(1, "it", msgspec.Raw(b"\x90"), envelope.NO_KWARGS, 0, options)
        assert Attempt(app, task, letter, b"id", "default", 0, "w").timeout_s == expected
