"""One attempt of a job, from its envelope to an `Outcome`. Used by workers, by the testing kit and inline.

Nothing here speaks to the store, and nothing here decides what becomes of the job: that is
`ferryman.settlement`."""

from __future__ import annotations

import asyncio
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from ferryman import envelope
from ferryman.context import JobContext, _current
from ferryman.errors import ConfigurationError, FerrymanError, InvalidArguments
from ferryman.hooks import acall_around, call_around
from ferryman.interrupts import Interrupt, ShuttingDown, TimeLimit
from ferryman.outcome import Ended, Failed, Outcome, Released, Snoozed, Succeeded
from ferryman.retry import Reject, Retry, Snooze

if TYPE_CHECKING:
    from ferryman.app import Ferryman
    from ferryman.envelope import Envelope
    from ferryman.task import Task

_NOT_RUN = (CoroutineType, GeneratorType, AsyncGeneratorType)
NOTHING = Succeeded(None)
"""What most attempts come to: success, and nothing returned."""


class Attempt:
    """A job that is about to run, or runs: its envelope, its task and how often it was tried."""

    __slots__ = (
        "app", "cancelled", "fetched_ns", "interrupt", "letter", "local", "made", "plain", "queue",
        "started_ns", "suspect", "task", "timeout_s", "took_ns", "worker",
    )  # fmt: skip

    cancelled: bool
    """Somebody asked to cancel the job. Unless it succeeds all the same, it ends here."""
    interrupt: type[Interrupt] | None
    """Why its coroutine was cancelled, if its worker did that."""
    started_ns: int
    """Monotonic; 0 before it has begun."""
    took_ns: int

    def __init__(
        self,
        app: Ferryman,
        task: Task[..., Any],
        letter: Envelope,
        local: bytes,
        queue: str,
        made: int,
        worker: str,
        fetched_ns: int = 0,
        suspect: bool = False,
    ) -> None:
        self.app = app
        self.task = task
        self.letter = letter
        self.local = local
        self.queue = queue
        self.made = made  # attempts that failed before this one
        self.worker = worker
        self.fetched_ns = fetched_ns
        self.suspect = suspect
        self.cancelled = False
        self.interrupt = None
        self.started_ns = self.took_ns = 0
        options = letter.options
        if options is None:
            self.timeout_s = task.defaults.timeout_s
            # Nothing is left to decide if it returns nothing: the case that has to be quick.
            self.plain = not made and not task.defaults.result_ttl_s
        else:
            self.plain = False
            self.timeout_s = options.get("timeout", task.defaults.timeout_s)

    @property
    def job_id(self) -> str:
        """The job's public id."""
        return f"{self.local.decode()}@{self.queue}"

    def __repr__(self) -> str:
        return f"<Attempt {self.made + 1} of {self.job_id} ({self.task.name})>"


def prepare(
    app: Ferryman, queue: str, local: bytes, body: bytes, *, made: int = 0, worker: str = ""
) -> Attempt:
    """The next attempt of a job, given its envelope as Redis keeps it.

    Raises `UnsupportedVersion` or `PayloadCorrupt` for the envelope, `UnknownTask` for its task.
    """
    letter = envelope.decode(body)
    return Attempt(app, app.get_task(letter.task), letter, local, queue, made, worker)


def execute_sync(attempt: Attempt) -> Outcome:
    """Run a sync task in this thread. Whatever the task raises comes back as a value.

    Sets the current job and leaves it set: call it in a `contextvars.Context` of its own.
    """
    app, task = attempt.app, attempt.task
    letter = attempt.letter
    try:
        args, kwargs = app.payloads.unpack(task.codec, letter.args, letter.kwargs, letter.options)
    except FerrymanError as error:
        return _unreadable(error)
    context = _enter(attempt)
    try:
        if app.hooks.around_run or task.hooks.around_run:
            hooks = app.hooks.around_run + task.hooks.around_run
            value = call_around(hooks, context, lambda: task.fn(*args, **kwargs))
        else:
            value = task.fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 (a task may raise anything, SystemExit too; the worker goes on)
        return outcome_of(attempt, error)
    return NOTHING if value is None else _succeeded(value)


async def execute_async(attempt: Attempt) -> Outcome:
    """Run an async task. Whatever it raises, and its cancellation, comes back as a value.

    Sets the current job and leaves it set: run it in an `asyncio.Task` of its own.
    """
    app, task = attempt.app, attempt.task
    letter = attempt.letter
    try:
        args, kwargs = app.payloads.unpack(task.codec, letter.args, letter.kwargs, letter.options)
    except FerrymanError as error:
        return _unreadable(error)
    context = _enter(attempt)
    try:
        if app.hooks.around_run or task.hooks.around_run:
            hooks = app.hooks.around_run + task.hooks.around_run
            value = await acall_around(hooks, context, lambda: task.fn(*args, **kwargs))
        else:
            value = await task.fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 (a task may raise anything, SystemExit too; the worker goes on)
        if attempt.interrupt is not None and isinstance(error, asyncio.CancelledError):
            interrupt = attempt.interrupt().with_traceback(error.__traceback__)
            return outcome_of(attempt, interrupt)
        return outcome_of(attempt, error)
    return NOTHING if value is None else _succeeded(value)


def _enter(attempt: Attempt) -> JobContext:
    letter = attempt.letter
    context = JobContext(
        attempt.app,
        attempt.local.decode(),
        attempt.queue,
        attempt.task.name,
        attempt.made + 1,
        attempt.worker,
        letter.enqueued_ms,
        attempt.timeout_s,
        letter.options or {},
        attempt,
    )
    _current.set(context)
    return context


def outcome_of(attempt: Attempt, error: BaseException) -> Outcome:
    """What an attempt that raised `error` came to."""
    if attempt.cancelled:
        return Ended("cancelled")  # whatever it raised on its way out: it must not start again
    if isinstance(error, Snooze):
        return Snoozed(error.delay_s)
    if isinstance(error, Retry):
        return Failed(error, "retry")
    if isinstance(error, Reject):
        return Failed(error, "rejected")
    if isinstance(error, ShuttingDown):
        return Released()
    if isinstance(error, TimeLimit):
        if not error.args:
            error.args = (f"the attempt ran longer than its timeout of {attempt.timeout_s or 0:g} s",)
        return Failed(error, "timeout")
    return Failed(error)


def _succeeded(value: Any) -> Outcome:
    """What a task returned, unless that is its own code, not yet run: a job of which nothing has happened
    must not count as done.
    """
    if not isinstance(value, _NOT_RUN):
        return Succeeded(value)
    if isinstance(value, CoroutineType):
        value.close()
        what = "a coroutine that nobody awaits: a decorator around its `async def` has to be `async def` too"
    else:
        what = "a generator that nobody iterates: the code that yields has not run"
    return Failed(ConfigurationError(f"the task returned {what}"), "rejected")


def _unreadable(error: FerrymanError) -> Outcome:
    """Arguments that cannot be read. Damaged ones stay damaged; those that do not fit the signature may be
    meant for a newer worker, so the task's retries hold for them."""
    return Failed(error, "failed" if isinstance(error, InvalidArguments) else "rejected")
