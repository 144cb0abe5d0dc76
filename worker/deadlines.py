"""Ends attempts on threads that have run past their timeout, or that somebody has cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ferryman.execution import Attempt
from ferryman.interrupts import Cancelled, TimeLimit

if TYPE_CHECKING:
    from ferryman.worker.slots import Slot

_NEVER = 1 << 62
_AGAIN_NS = 2_000_000
"""How soon to try again to interrupt an attempt that is just about to begin."""
_GIVE_UP_NS = 5_000_000_000


class Deadlines:
    """A thread that sleeps until the earliest deadline of any slot. It starts with the first job that has
    one.
    """

    def __init__(self) -> None:
        self.next_ns = _NEVER
        """When it looks next. A slot with an earlier deadline nudges it."""
        self._slots: Sequence[Slot] = ()
        self._fired: dict[Slot, Attempt] = {}
        self._cancelled: dict[Attempt, int] = {}
        """To be interrupted, and not interrupted yet; until when to try."""
        self._changed = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def watch(self, slots: Sequence[Slot]) -> None:
        """These are the slots."""
        self._slots = slots

    def nudge(self) -> None:
        """There is an earlier deadline than the one it waits for."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="ferryman-deadlines", daemon=True)
                    self._thread.start()
        self._changed.set()

    def cancel(self, attempt: Attempt) -> None:
        """Interrupt an attempt that runs, or is about to."""
        self._cancelled[attempt] = time.monotonic_ns() + _GIVE_UP_NS
        self.nudge()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._changed.set()

    def _run(self) -> None:
        while not self._stopped:
            self._changed.clear()
            self.next_ns = _NEVER  # a deadline that is set while we look is either seen, or nudges us
            self.next_ns = min(self._fire(), self._cancel())
            pause_s = (self.next_ns - time.monotonic_ns()) / 1e9
            self._changed.wait(min(max(pause_s, 0.0), 3600.0))

    def _fire(self) -> int:
        """Interrupt whatever is late; when the next will be."""
        now, following = time.monotonic_ns(), _NEVER
        for slot in self._slots:
            limit = slot.limit
            if limit is None or slot.current is not limit[0] or self._fired.get(slot) is limit[0]:
                continue
            attempt, deadline_ns = limit
            if deadline_ns > now:
                following = min(following, deadline_ns)
            else:
                self._fired[slot] = attempt
                slot.interrupt(attempt, TimeLimit)
        return following

    def _cancel(self) -> int:
        """Interrupt what was cancelled; when to try again."""
        now = time.monotonic_ns()
        for attempt, until_ns in list(self._cancelled.items()):
            # A slot takes a job, notes it and begins it in three steps. Between them there is nothing to
            # interrupt, and after them soon is.
            hit = any(slot.interrupt(attempt, Cancelled) for slot in self._slots if slot.current is attempt)
            if hit or attempt.took_ns or now > until_ns:
                del self._cancelled[attempt]
        return now + _AGAIN_NS if self._cancelled else _NEVER
