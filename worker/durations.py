"""What tasks take, as measured here: for queues that are worked shortest job first."""

from __future__ import annotations

from typing import Any

from ferryman.store import Transition, transitions
from ferryman.worker.feeds import Feed

_EVERY_NS = 1_000_000_000
_SMOOTHING = 0.3


class Durations:
    """Run times by queue and task, smoothed. Written to Redis at most once a second."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], float] = {}
        self._changed: dict[Feed, set[str]] = {}
        self._written_ns = 0

    def note(self, feed: Feed, task: str, micros: float) -> None:
        """An attempt that succeeded took so long."""
        before = self._known.get((feed.name, task), micros)
        self._known[feed.name, task] = before + (micros - before) * _SMOOTHING
        self._changed.setdefault(feed, set()).add(task)

    def steps(self, now_ns: int) -> list[Transition[Any]]:
        """What writes down what has changed, when it is time to."""
        if not self._changed or now_ns - self._written_ns < _EVERY_NS:
            return []
        self._written_ns = now_ns
        found = []
        for feed, tasks in self._changed.items():
            flat: list[str | int] = []
            for task in tasks:
                flat += [task, int(self._known[feed.name, task])]
            found.append(transitions.insist(feed.keys.durations, "HSET", *flat))
        self._changed = {}
        return found
