"""Where the exchange and the slots of a process meet: jobs that are ready to run, jobs that are done, and who
sleeps.

Every step here is one atomic operation of a deque or of a lock; nothing waits for anything but work.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable

from ferryman.execution import Attempt
from ferryman.settlement import Settlement

Finished = tuple[Attempt, Settlement]


class Handover:
    """The meeting point of one process."""

    __slots__ = (
        "_write_fd",
        "closed",
        "done",
        "gathering",
        "idle",
        "listening",
        "ready",
        "ready_async",
        "wake_async",
        "wake_fd",
    )

    def __init__(self) -> None:
        self.ready: deque[Attempt] = deque()
        """Jobs for the threads, next first."""
        self.ready_async: deque[Attempt] = deque()
        """Jobs for the event loop, next first."""
        self.done: deque[Finished] = deque()
        self.idle: deque[Callable[[], None]] = deque()
        """One call for each sleeping thread, which wakes it."""
        self.listening = False
        """The exchange sleeps and wants to hear of the next job that is done."""
        self.gathering = False
        """The exchange lets finished jobs gather, and wants to hear when a thread runs out of work."""
        self.closed = False
        """No more work will come."""
        self.wake_async: Callable[[], None] | None = None
        self.wake_fd, self._write_fd = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self._write_fd, False)

    def nudge(self) -> None:
        """Wake the exchange."""
        self.listening = self.gathering = False
        with contextlib.suppress(OSError):  # it is full of nudges already, or closed
            os.write(self._write_fd, b"\0")

    def heard(self) -> None:
        """The exchange is awake: forget its nudges."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_fd, 4096)

    def offer(self, attempts: list[Attempt]) -> None:
        """Give work to the threads. Wakes one sleeper: it wakes the next while there is more, so a batch of
        short jobs does not wake them all for nothing."""
        self.ready.extend(attempts)
        self.wake_one()

    def offer_async(self, attempts: list[Attempt]) -> None:
        """Give work to the event loop."""
        self.ready_async.extend(attempts)
        if self.wake_async is not None:
            self.wake_async()

    def wake_one(self) -> None:
        """Wake a sleeping thread, if one sleeps."""
        try:
            wake = self.idle.popleft()
        except IndexError:
            return
        wake()

    def withdraw(self, attempt: Attempt) -> bool:
        """Take one attempt out of the line. Whether it was there: else it has begun."""
        for line in (self.ready, self.ready_async):
            try:
                line.remove(attempt)
            except (ValueError, IndexError):  # it is not in there, or the line changed while we looked
                continue
            return True
        return False

    def take_back(self) -> list[Attempt]:
        """Everything that has not begun."""
        found = []
        for line in (self.ready, self.ready_async):
            while True:
                try:
                    found.append(line.popleft())
                except IndexError:
                    break
        return found

    def close(self) -> None:
        """Let the threads end when they have nothing left to do."""
        self.closed = True
        while self.idle:
            self.wake_one()

    def dispose(self) -> None:
        """Close the pipe, when nobody uses it any more."""
        fds, self.wake_fd, self._write_fd = (self.wake_fd, self._write_fd), -1, -1
        for fd in fds:
            os.close(fd)
