"""Days on which a schedule has no ticks: holidays, closed weekends, the days between the years.

Written as ``2026-12-25``, ``12-25`` (each year), ``2026-12-24/2027-01-01`` (both included), or ``sat``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from ferryman.errors import InvalidOption
from ferryman.schedules import zones

_YEARLY = re.compile(r"(\d\d)-(\d\d)")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Calendar:
    """The excluded days, in the schedule's zone."""

    def __init__(self, days: Sequence[str], zone: str) -> None:
        self._zone = zone
        self._spans: list[tuple[date, date]] = []
        self._yearly: set[tuple[int, int]] = set()
        self._weekdays: set[int] = set()
        for text in days:
            self._add(text)
        if len(self._weekdays) == 7:
            raise InvalidOption("exclude= names all seven weekdays, so the schedule would never run")

    def _add(self, text: str) -> None:
        word = text.strip().lower()
        yearly = _YEARLY.fullmatch(word)
        try:
            if word in _WEEKDAYS:
                self._weekdays.add(_WEEKDAYS.index(word))
            elif yearly:
                day = date(2024, int(yearly[1]), int(yearly[2]))  # a leap year
                self._yearly.add((day.month, day.day))
            else:
                first, _, last = word.partition("/")
                span = (date.fromisoformat(first), date.fromisoformat(last or first))
                if span[0] > span[1]:
                    raise ValueError
                self._spans.append(span)
        except ValueError:
            raise InvalidOption(
                f"exclude={text!r} is no day: write 2026-12-25, 12-25 (each year), "
                "2026-12-24/2027-01-01, or sat"
            ) from None

    def open_again(self, moment_ms: int) -> int | None:
        """If the moment's day is excluded, the last millisecond before the next local day; None if it is
        not.
        """
        local = datetime.fromtimestamp(moment_ms / 1000, UTC).astimezone(zones.zone(self._zone))
        day = local.date()
        if not self._excluded(day):
            return None
        for start, end in self._spans:  # a long span is left in one step
            if start <= day <= end:
                day = end
        morning = datetime.combine(day + timedelta(days=1), datetime.min.time(), zones.zone(self._zone))
        # After a midnight that a clock change skipped, this is a little early at worst, and asked again.
        return max(round(morning.timestamp() * 1000) - 1, moment_ms)

    def _excluded(self, day: date) -> bool:
        return (
            day.weekday() in self._weekdays
            or (day.month, day.day) in self._yearly
            or any(start <= day <= end for start, end in self._spans)
        )
