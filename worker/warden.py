"""Looks after processes that cannot help themselves: a job that runs past its limit in C code, a process that
has gone deaf.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ferryman.worker.board import Entry
from ferryman.worker.child import Child

LOOK_S = 0.25
"""How late a job past its limit may be found."""


class Warden:
    """Reads the boards of the children and kills who has to be killed."""

    def __init__(self, stall_after_s: float, kill_after_s: float, queues: Sequence[str]) -> None:
        self._stall_after_ns = int(stall_after_s * 1e9)
        self._kill_after_ns = int(kill_after_s * 1e9)
        self._queues = queues
        self._next = 0.0

    def pause_s(self, children: Sequence[Child]) -> float:
        """How long until it wants to look again."""
        return LOOK_S if children else 60.0

    def look(self, children: Sequence[Child], reached_ns: int) -> None:
        """Kill the processes of overdue jobs, of cancelled ones that do not end, and those that no longer
        reach Redis while we do, since `reached_ns` (0: we do not).
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOK_S * 0.8
        for child in children:
            if child.condemned or child.stopped:
                continue
            self._end_overdue(child)
            if child.cancelled and not child.condemned:
                self._end_cancelled(child)
            if child.ready and reached_ns and not child.condemned:
                silent_ns = time.monotonic_ns() - max(child.progress_ns(), reached_ns)
                if silent_ns > self._stall_after_ns:
                    child.kill(f"it has not reached Redis for {silent_ns / 1e9:.0f} s, while others do")

    @staticmethod
    def _end_overdue(child: Child) -> None:
        now_ns = time.monotonic_ns()
        entries = [entry for entry in child.board.running() if 0 < entry.deadline_ns < now_ns]
        confirmed = _confirmed(child, entries)
        if confirmed:
            child.overdue = confirmed
            child.kill(f"{len(confirmed)} of its jobs ran past their timeout and did not end when told to")

    def _end_cancelled(self, child: Child) -> None:
        """Tell the process again of a job that began after it was told; kill it for one that did not end."""
        late = []
        for entry in child.board.running():
            queue, local = self._queues[entry.queue], entry.local.decode(errors="replace")
            told_ns = child.cancelled.get((queue, local))
            if told_ns is None:
                continue
            if entry.started_ns > told_ns:
                child.cancel(queue, local)
            elif time.monotonic_ns() - told_ns > self._kill_after_ns:
                late.append(entry)
        if confirmed := _confirmed(child, late):
            child.kill(f"{len(confirmed)} of its jobs were cancelled and did not end when told to")


def _confirmed(child: Child, entries: Sequence[Entry]) -> list[Entry]:
    """Read again: an entry that was just being rewritten must not cost a process its life."""
    return [entry for entry in child.board.running() if entry in entries] if entries else []
