"""Running one attempt in a test: in the caller's thread, on the caller's loop, or on the kit's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from ferryman.execution import Attempt, execute_async, execute_sync, outcome_of
from ferryman.interrupts import Cancelled, Interrupt, TimeLimit, deliver_pending, raise_in
from ferryman.outcome import Failed, Outcome

T = TypeVar("T")


class Executor:
    """Runs attempts. Timeouts are held by the real clock, and only if `enforce_timeouts` says so."""

    def __init__(self, *, enforce_timeouts: bool) -> None:
        self._enforce_timeouts = enforce_timeouts
        self._runner: asyncio.Runner | None = None
        self._running: dict[tuple[str, str], tuple[Attempt, Callable[[], object]]] = {}

    def cancel(self, queue: str, local: str) -> None:
        """Interrupt the job if it runs here, as a worker does that is told to. Its own task may call this."""
        found = self._running.get((queue, local))
        if found is not None and not found[0].cancelled:
            attempt, strike = found
            attempt.cancelled = True
            strike()

    @contextlib.contextmanager
    def _interruptible(self, attempt: Attempt, strike: Callable[[], object]) -> Iterator[None]:
        job = attempt.queue, attempt.local.decode()
        self._running[job] = attempt, strike
        try:
            yield
        finally:
            self._running.pop(job, None)

    def close(self) -> None:
        """Close the kit's own event loop."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def run(self, attempt: Attempt) -> Outcome:
        """Run an attempt and wait for it."""
        if attempt.task.is_async:
            return self.wait_for(lambda: self._run_async(attempt))
        return contextvars.copy_context().run(self._run_sync, attempt)

    async def arun(self, attempt: Attempt) -> Outcome:
        """Run an attempt: a coroutine on the running loop, a plain function on a thread, as a worker does."""
        if attempt.task.is_async:
            return await self._run_async(attempt)
        return await asyncio.to_thread(self._run_sync, attempt)

    def wait_for(self, start: Callable[[], Awaitable[T]]) -> T:
        """Await what `start` gives on the kit's own loop. Where a loop is running in this thread already, on
        one of another thread.
        """

        async def awaited() -> T:
            return await start()

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(awaited())
        return _on_a_thread(lambda: asyncio.run(awaited()))

    def call(self, hook: Callable[[], Any]) -> None:
        """Call a hook, sync or async."""
        found = hook()
        if inspect.isawaitable(found):
            self.wait_for(lambda: found)

    def _run_sync(self, attempt: Attempt) -> Outcome:
        thread, guard, over = threading.get_ident(), threading.Lock(), list[bool]()

        def strike(interrupt: type[Interrupt]) -> None:
            with guard:
                if not over:
                    raise_in(thread, interrupt)

        timer = None
        if self._enforce_timeouts and attempt.timeout_s is not None:
            timer = threading.Timer(attempt.timeout_s, strike, [TimeLimit])
            timer.daemon = True
            timer.start()
        try:
            with self._interruptible(attempt, lambda: strike(Cancelled)):
                outcome = execute_sync(attempt)
            with guard:  # past this, none is raised; one that was raised late is delivered here
                over.append(True)
            deliver_pending()
        except (TimeLimit, Cancelled) as error:
            outcome = outcome_of(attempt, error)
        finally:
            if timer is not None:
                timer.cancel()
        return _passing_on(outcome)

    async def _run_async(self, attempt: Attempt) -> Outcome:
        running = asyncio.create_task(execute_async(attempt))

        def strike(interrupt: type[Interrupt]) -> None:
            attempt.interrupt = interrupt
            running.get_loop().call_soon_threadsafe(running.cancel)

        timer = None
        if self._enforce_timeouts and attempt.timeout_s is not None:
            timer = asyncio.get_running_loop().call_later(attempt.timeout_s, strike, TimeLimit)
        try:
            with self._interruptible(attempt, lambda: strike(Cancelled)):
                return _passing_on(await running)
        finally:
            if timer is not None:
                timer.cancel()


def _passing_on(outcome: Outcome) -> Outcome:
    """The outcome, unless it is meant for the test run: Ctrl-C, ``pytest.skip()`` or ``pytest.fail()``."""
    if isinstance(outcome, Failed):
        error = outcome.error
        jobs = (Exception, Interrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
        if not isinstance(error, jobs):
            raise error
    return outcome


def _on_a_thread(call: Callable[[], T]) -> T:
    """What `call` gives or raises, on a thread of its own, in this context."""
    found: list[T] = []
    raised: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            found.append(context.run(call))
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
            raised.append(error)

    thread = threading.Thread(target=run, name="ferryman-testing")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]
