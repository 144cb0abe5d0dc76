"""The event loop of a worker process: one thread that runs the async tasks, many at a time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine
from typing import Any

from ferryman.execution import NOTHING, Attempt, execute_async
from ferryman.interrupts import Interrupt, ShuttingDown, TimeLimit
from ferryman.settlement import DONE, settle
from ferryman.worker.board import Board
from ferryman.worker.clock import ServerClock
from ferryman.worker.handover import Handover
from ferryman.worker.reports import tell


class Coroutines:
    """Runs up to `concurrency` async tasks at a time, each in a slot of the board, from `first_slot` on."""

    def __init__(
        self,
        handover: Handover,
        board: Board,
        clock: ServerClock,
        queues: dict[str, int],
        kill_after_ns: int,
        first_slot: int,
        concurrency: int,
    ) -> None:
        self._handover = handover
        self._board = board
        self._clock = clock
        self._queues = queues
        self._kill_after_ns = kill_after_ns
        self._free = list(reversed(range(first_slot, first_slot + concurrency)))
        self._running: dict[Attempt, asyncio.Task[None]] = {}
        self._pumping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ferryman-loop", daemon=True)

    def start(self) -> None:
        """Start the loop's thread and take jobs from the handover."""
        self._handover.wake_async = self._wake
        self._thread.start()

    @property
    def thread_id(self) -> int:
        """As `threading.get_ident` names it."""
        return self._thread.ident or 0

    def call(self, coroutine: Coroutine[Any, Any, Any], timeout: float | None = None) -> Any:
        """Run a coroutine on the loop and wait for it; for the app's startup and shutdown hooks."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def interrupt_all(self, interrupt: type[Interrupt] = ShuttingDown) -> None:
        """Cancel whatever runs. Called by other threads."""
        self._loop.call_soon_threadsafe(self._cancel_all, interrupt)

    def interrupt(self, attempt: Attempt, interrupt: type[Interrupt]) -> None:
        """Cancel one attempt, if it still runs. Called by other threads."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing runs any more
            self._loop.call_soon_threadsafe(self._cancel, attempt, interrupt)

    def stop(self, timeout: float) -> bool:
        """End the loop. Whether it ended in time: a coroutine that blocks it cannot be ended."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def current(self) -> list[tuple[Attempt, asyncio.Task[None]]]:
        """What runs, for people to look at."""
        return list(self._running.items())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    # -- jobs ------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon_threadsafe(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        ready = self._handover.ready_async
        while self._free:
            try:
                attempt = ready.popleft()
            except IndexError:
                return
            slot = self._free.pop()
            self._running[attempt] = self._loop.create_task(self._attempt(attempt, slot), name=attempt.job_id)

    async def _attempt(self, attempt: Attempt, slot: int) -> None:
        attempt.started_ns = started = time.monotonic_ns()
        timer = None
        hard_ns = 0
        if attempt.timeout_s is not None:
            timer = self._loop.call_later(attempt.timeout_s, self._cancel, attempt, TimeLimit)
            hard_ns = started + int(attempt.timeout_s * 1e9) + self._kill_after_ns
        self._board.write(slot, attempt.local, self._queues[attempt.queue], started, hard_ns)
        outcome = await execute_async(attempt)
        if timer is not None:
            timer.cancel()
        ended = time.monotonic_ns()
        attempt.took_ns = ended - started
        if outcome is NOTHING and attempt.plain:
            settled = DONE
        else:
            settled = settle(attempt, outcome, ended // 1_000_000 + self._clock.offset_ms)
            tell(attempt, outcome, settled)
        self._board.clear(slot)
        del self._running[attempt]
        self._free.append(slot)
        handover = self._handover
        handover.done.append((attempt, settled))
        if handover.listening or (handover.gathering and not handover.ready_async):
            handover.nudge()
        if handover.ready_async:
            self._pump()

    def _cancel(self, attempt: Attempt, interrupt: type[Interrupt]) -> None:
        task = self._running.get(attempt)
        if task is None:
            return
        if not attempt.started_ns:  # asyncio would drop a task that is cancelled before its first step
            self._loop.call_soon(self._cancel, attempt, interrupt)
            return
        attempt.interrupt = interrupt
        task.cancel()

    def _cancel_all(self, interrupt: type[Interrupt]) -> None:
        for attempt in list(self._running):
            self._cancel(attempt, interrupt)
