"""Cron expressions on a clock without a zone: what they allow, what is wrong with one, what comes next.

croniter parses and iterates. It is asked about naive wall-clock time only; what a zone makes of that is
`ferryman.schedules.timetable`'s business (decision 0007 says what it gets wrong).
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from ferryman.errors import InvalidOption
from ferryman.schedules import zones

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
_ALLOWED = (
    "0 to 59", "0 to 59", "0 to 23", "1 to 31, L, or 15W",
    "1 to 12 or jan to dec", "0 to 7 or sun to sat (0 and 7 are Sunday), fri#2, L5 or 5L",
)  # fmt: skip
_LAST_WEEKDAY = re.compile(r"\b([0-7]|sun|mon|tue|wed|thu|fri|sat)l\b")
_WEEKDAYS = {name: str(place) for place, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_EVERY_HOUR = re.compile(r"(\*|h)(/\d+)?|0-23(/\d+)?")
_REFERENCE = datetime(2024, 1, 1)  # noqa: DTZ001 (a wall clock)


class Cron:
    """An expression, checked. `next_wall` is all that a timetable needs of it."""

    def __init__(self, expression: str, name: str) -> None:
        self.expression = expression
        self.fields = _split(expression)
        _check_fields(expression, self.fields)
        hour = self.fields[2]
        self.every_hour = bool(_EVERY_HOUR.fullmatch(hour)) and hour != "h"
        """Whether it goes by real hours (``*`` or ``*/2`` in the hour field), not by times of the day."""
        self._hash_id = name.encode()
        self._local = threading.local()  # a walk stands somewhere, and a thread must not move another's
        if self.next_wall(zones.wall_seconds(_REFERENCE)) is None:
            raise InvalidOption(
                f"cron {expression!r} never fires: there is no such day "
                f"(day of month {self.fields[3]!r}, month {self.fields[4]!r})"
            )

    def next_wall(self, after: int) -> int | None:
        """The first matching wall second after `after`; None if there is none within fifty years."""
        walks: list[_Walk] | None = getattr(self._local, "walks", None)
        if walks is None:
            walks = [_Walk(text, self._hash_id) for text in _alternatives(self.fields)]
            self._local.walks = walks
        return min((at for walk in walks if (at := walk.next(after)) is not None), default=None)

    def matches(self, moment: int) -> bool:
        """Whether a wall clock that shows this second matches."""
        return self.next_wall(moment - 1) == moment


@lru_cache(maxsize=2048)
def parse(expression: str, name: str = "") -> Cron:
    """The expression, checked. `name` is what ``H`` is derived from. Raises `InvalidOption`."""
    if not isinstance(expression, str) or not expression.strip():
        raise InvalidOption("cron= takes an expression of five fields, as in '30 2 * * mon-fri'")
    if len(expression) > 500:
        raise InvalidOption("the cron expression is longer than 500 characters")
    hashed = any(re.search(r"\bh\b|h/|h\(", part) for part in _split(expression))
    return _parse(expression.strip(), name if hashed else "")


@lru_cache(maxsize=2048)
def _parse(expression: str, name: str) -> Cron:
    return Cron(expression, name)


def _split(expression: str) -> list[str]:
    """Six fields in lower case, seconds first."""
    text = expression.strip().lower()
    if text.startswith("@"):
        if text not in ALIASES:
            raise InvalidOption(f"cron {expression!r} is none of {', '.join(ALIASES)}")
        text = ALIASES[text]
    fields = text.split()
    if len(fields) not in (5, 6):
        raise InvalidOption(
            f"cron {expression!r} has {len(fields)} fields: give five (minute, hour, day of month, month, "
            "day of week), or six with the seconds first"
        )
    if len(fields) == 5:
        fields.insert(0, "0")
    return [fields[0], *fields[1:5], _LAST_WEEKDAY.sub(_last, fields[5])]


def _last(match: re.Match[str]) -> str:
    return f"l{_WEEKDAYS.get(match[1], match[1])}"


def _check_fields(expression: str, fields: list[str]) -> None:
    """Each field by itself, the others open: the first that fails is the wrong one."""
    for place, text in enumerate(fields):
        try:
            if re.search(r"\br\b|r\(", text):  # drawn anew at each start: every scheduler would have its own
                raise ValueError("R is random; H spreads load and stays the same")
            for part in text.split(",") if place == 5 else (text,):
                alone = ["*"] * 6
                alone[place] = part
                croniter.expand(" ".join(alone), hash_id=b"", second_at_beginning=True)
        except (CroniterError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f" ({error})" if type(error) is ValueError and str(error).startswith("R ") else ""
            raise InvalidOption(
                f"cron {expression!r}: the {FIELDS[place]} field {text!r} is wrong{why}: "
                f"it takes {_ALLOWED[place]}, and of these lists (1,2), ranges (1-5) and steps (*/2)"
            ) from None


def _alternatives(fields: list[str]) -> list[str]:
    """The expression as several that croniter reads right. Of a day of month and a day of week either will
    do; with ``fri#2``, ``L5`` or ``15W`` among them croniter forgets that, or refuses the list.
    """
    month_day, weekday = fields[3], fields[5]
    open_day, open_weekday = month_day in {"*", "?"}, weekday in {"*", "?"}
    found = []
    if not open_day or open_weekday:
        found.append(" ".join([*fields[:5], "*"]))
    if not open_weekday:
        parts = weekday.split(",")
        special = [part for part in parts if "#" in part or part.startswith("l")]
        plain = [part for part in parts if part not in special]
        alternatives = [*special, ",".join(plain)] if plain else special
        found += [" ".join([*fields[:3], "*", fields[4], chosen]) for chosen in alternatives]
    return found


@dataclass(eq=False)
class _Walk:
    """One croniter, and where it stands: asked in order, it need not begin anew."""

    text: str
    hash_id: bytes
    _at: int = field(default=0, init=False)
    _next: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._iterator = croniter(
            self.text, _REFERENCE, hash_id=self.hash_id, second_at_beginning=True, day_or=True
        )

    def next(self, after: int) -> int | None:
        if self._next is not None and self._at <= after < self._next:
            return self._next
        try:
            found = self._iterator.get_next(datetime, start_time=zones.wall(after))
        except CroniterBadDateError:
            return None
        self._at, self._next = after, zones.wall_seconds(found)
        return self._next
