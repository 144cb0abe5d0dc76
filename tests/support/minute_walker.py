"""An independent judge of cron in time zones: it walks every real minute and looks at the local clock.

It shares nothing with `ferryman.schedules`: neither croniter, nor how clock changes are found. It is slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[datetime]:
    """About when the zone's clock changed: to the hour, in UTC."""
    at = datetime(first_year, 1, 1, tzinfo=UTC)
    end = datetime(last_year + 1, 1, 1, tzinfo=UTC)
    offset = at.astimezone(zone).utcoffset()
    while at < end:
        at += timedelta(hours=1)
        now = at.astimezone(zone).utcoffset()
        if now != offset:
            yield at
            offset = now


@dataclass
class Matcher:
    """Five plain fields: ``*``, numbers, lists, ranges, steps."""

    text: str

    def __post_init__(self) -> None:
        fields = self.text.split()
        self.every_hour = fields[1].startswith("*")
        minute, hour, day, month, weekday = (
            _values(field, *bounds) for field, bounds in zip(fields, _BOUNDS, strict=True)
        )
        self._minutes, self._hours, self._days, self._months = minute, hour, day, month
        self._weekdays = {value % 7 for value in weekday}
        self._day_open, self._weekday_open = fields[2] == "*", fields[4] == "*"

    def matches(self, shown: datetime) -> bool:
        """Whether a clock that shows this matches."""
        if shown.minute not in self._minutes or shown.hour not in self._hours:
            return False
        if shown.month not in self._months:
            return False
        by_day, by_weekday = shown.day in self._days, shown.isoweekday() % 7 in self._weekdays
        if self._day_open or self._weekday_open:
            return by_day and by_weekday
        return by_day or by_weekday


def _values(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = low, high
        else:
            start, _, end = span.partition("-")
            first, last = int(start), int(end or start)
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def walk(text: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Every tick after `start` up to `end`, by the written rules."""
    cron, found = Matcher(text), []
    before = start.astimezone(zone).replace(tzinfo=None)
    at = start + MINUTE
    while at <= end:
        local = at.astimezone(zone)
        shown = local.replace(tzinfo=None)
        gap = shown - before - MINUTE
        due = cron.matches(shown) and (cron.every_hour or not local.fold)
        if gap > timedelta():
            due = due or _owed(cron, before + MINUTE, gap)
        if due:
            found.append(at)
        before, at = shown, at + MINUTE
    return found


def _owed(cron: Matcher, first: datetime, gap: timedelta) -> bool:
    """Whether one of the skipped minutes calls for a tick after the gap."""
    for minute in range(int(gap / MINUTE)):
        skipped = first + minute * MINUTE
        if cron.matches(skipped) and not (cron.every_hour and cron.matches(skipped + gap)):
            return True
    return False
