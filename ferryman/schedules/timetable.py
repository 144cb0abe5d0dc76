"""When a schedule's ticks are: by cron in a zone, at intervals, or at given moments.

The rules for clock changes, for a cron expression in a zone:

- A time of day that the clock skips has its tick right after the gap, once, however many were skipped.
- A time of day that comes twice has its tick at the first.
- With ``*`` or ``*/n`` in the hour field a schedule goes by real time: it has ticks in both of the repeated
  hours, and what a gap skipped is made up only if it does not come by itself as much later as the gap is
  long.

Nothing here knows misfires, jitter or bounds. Moments are whole milliseconds since the epoch.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

from ferryman.schedules import zones
from ferryman.schedules.cron import Cron
from ferryman.schedules.zones import Stretch

FIRST_LOOK_BACK_MS = 60_000
_OLDEST_MS = 0


class Timetable(Protocol):
    """A sequence of nominal times."""

    def after(self, moment_ms: int) -> int | None:
        """The first nominal time after a moment; None when there is none left."""


class Every:
    """At equal distances from an anchor, before and after it."""

    def __init__(self, every_ms: int, anchor_ms: int) -> None:
        self._every_ms, self._anchor_ms = every_ms, anchor_ms

    def after(self, moment_ms: int) -> int | None:
        """See `Timetable.after`."""
        passed = (moment_ms - self._anchor_ms) // self._every_ms
        return self._anchor_ms + (passed + 1) * self._every_ms


class Moments:
    """At given moments, each once."""

    def __init__(self, moments_ms: tuple[int, ...]) -> None:
        self._moments_ms = sorted(set(moments_ms))

    def after(self, moment_ms: int) -> int | None:
        """See `Timetable.after`."""
        place = bisect_right(self._moments_ms, moment_ms)
        return self._moments_ms[place] if place < len(self._moments_ms) else None


class Zoned:
    """A cron expression in a time zone."""

    def __init__(self, cron: Cron, zone: str) -> None:
        zones.zone(zone)
        self._cron, self._zone = cron, zone
        self._known: dict[int, int | None] = {}
        self._stretch: Stretch | None = None

    def after(self, moment_ms: int) -> int | None:
        """See `Timetable.after`."""
        moment = moment_ms // 1000
        if moment not in self._known:
            # A few answers are enough for many schedules with one timetable, which are asked about in step.
            known = self._known if len(self._known) < 8 else {}
            self._known = {**known, moment: self._after(moment)}
        found = self._known.get(moment, -1)
        if found == -1:  # another thread was quicker to replace what was known
            found = self._after(moment)
        return None if found is None else found * 1000

    def _after(self, moment: int) -> int | None:
        # Most answers are in the stretch that also held the last one, at a constant distance to UTC.
        held = self._stretch
        if held is not None and held.start <= moment < held.end:
            found = self._in(held, moment)
            if found is not None:
                return found
        for stretch in zones.stretches(self._zone, moment):
            if stretch.start <= moment:
                self._stretch = stretch
            found = self._in(stretch, moment)
            if found is not None:
                return found
            if self._cron.next_wall(max(moment, stretch.start) + stretch.offset) is None:
                return None
        return None

    def _in(self, stretch: Stretch, after: int) -> int | None:
        """The first tick of a stretch that is after a moment."""
        offset, before = stretch.offset, stretch.before
        if stretch.start > after and offset > before and self._owes_for_the_gap(stretch):
            return stretch.start
        wall = max(after + offset, stretch.start + offset - 1)
        if before > offset and not self._cron.every_hour:
            wall = max(
                wall, stretch.start + before - 1
            )  # until then the clock shows what it has shown before
        shown = self._cron.next_wall(wall)
        return None if shown is None or shown - offset >= stretch.end else shown - offset

    def _owes_for_the_gap(self, stretch: Stretch) -> bool:
        """Whether a tick was skipped when the clock went forward at the stretch's start."""
        first, end = stretch.start + stretch.before, stretch.start + stretch.offset
        skipped = self._cron.next_wall(first - 1)
        while skipped is not None and skipped < end:
            if not self._cron.every_hour or not self._cron.matches(skipped + end - first):
                return True
            skipped = self._cron.next_wall(skipped)
        return False


@lru_cache(maxsize=4096)
def zoned(cron: Cron, zone: str) -> Zoned:
    """The timetable of an expression in a zone, shared by all schedules that have the same."""
    return Zoned(cron, zone)


def between(table: Timetable, after_ms: int, until_ms: int) -> Iterator[int]:
    """Nominal times after one moment, up to and including another."""
    at = table.after(after_ms)
    while at is not None and at <= until_ms:
        yield at
        at = table.after(at)


def latest(table: Timetable, until_ms: int, *, after_ms: int = _OLDEST_MS, most: int = 1) -> list[int]:
    """The last nominal times up to a moment, at most so many, oldest first; none before `after_ms`.

    Looks back in growing steps, so the cost does not grow with the number of times that are older.
    """
    back_ms = FIRST_LOOK_BACK_MS
    while True:
        start = max(until_ms - back_ms, after_ms)
        found = deque(between(table, start, until_ms), maxlen=most)
        if len(found) >= most or start <= after_ms:
            return list(found)
        back_ms *= 4


def upcoming(table: Timetable, after_ms: int, count: int) -> list[int]:
    """The next `count` nominal times; fewer where there are no more."""
    return list(itertools.islice(between(table, after_ms, 1 << 62), count))
