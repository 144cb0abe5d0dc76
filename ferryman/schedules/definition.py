"""What a schedule says: which task, when, and what happens if a tick cannot be on time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

import msgspec

from ferryman import ids
from ferryman.errors import InvalidOption
from ferryman.schedules import cron as crons
from ferryman.schedules import timetable, zones
from ferryman.schedules.calendar import Calendar
from ferryman.schedules.spans import moment_ms, span_ms
from ferryman.schedules.timetable import Every, Moments, Timetable

Misfire = Literal["skip", "run_once", "run_all"]
Overlap = Literal["allow", "skip_if_running", "queue_one", "cancel_running"]
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,90}\Z")
SHORTEST_MS = 1000
MOST_CATCH_UP = 1000
MOST_MOMENTS = 1000
_EXCLUDED_DAYS_LIMIT = 2000


class Definition(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A schedule's definition, checked and in plain values; times in milliseconds since the epoch.

    `define` makes one from what a user writes.
    """

    name: str
    task: str
    queue: str
    cron: str = ""
    every_ms: int = 0
    anchor_ms: int = 0
    at_ms: tuple[int, ...] = ()
    tz: str = "UTC"
    start_ms: int | None = None
    """No tick before it."""
    end_ms: int | None = None
    """No tick after it."""
    jitter_ms: int = 0
    """Each tick is due up to so much after its nominal time, always the same for the same tick."""
    exclude: tuple[str, ...] = ()
    """Days without ticks, see `ferryman.schedules.calendar`."""
    misfire: Misfire = "run_once"
    grace_ms: int = 60_000
    """A tick that is no later than this is not missed."""
    catch_up: int = 100
    """With ``run_all``: at most so many missed ticks, the latest."""
    overlap: Overlap = "allow"
    unless_fresh_ms: int = 0
    """A tick is skipped if the last success is younger; 0: never."""
    args: bytes = b"\x90"
    kwargs: bytes | None = None
    options: dict[str, Any] = {}
    """Options of the jobs, as they travel in an envelope."""
    expires_ms: int | None = None
    duration_ms: int | None = None

    def table(self) -> Ticks:
        """When its ticks are. Raises `InvalidOption` or `ConfigurationError` for what this Ferryman, or this
        machine's zone data, does not know.
        """
        named = self.jitter_ms or "h" in self.cron.lower()  # the others share what was worked out
        return _ticks(
            self.name if named else "", self.cron, self.every_ms, self.anchor_ms, self.at_ms, self.tz,
            self.start_ms, self.end_ms, self.jitter_ms, self.exclude,
        )  # fmt: skip


class Ticks:
    """The ticks of one definition: its timetable within its bounds, without the excluded days."""

    def __init__(self, name: str, bare: Timetable, bounds: tuple[int | None, int | None]) -> None:
        self._name, self._bare = name, bare
        self._start_ms, self._end_ms = bounds
        self._before: tuple[int, int | None] | None = None
        self.calendar: Calendar | None = None
        self.jitter_ms = 0

    def after(self, moment_ms: int) -> int | None:
        """The first nominal time after a moment; None when there is none left."""
        if self._start_ms is not None:
            moment_ms = max(moment_ms, self._start_ms - 1)
        for _ in range(_EXCLUDED_DAYS_LIMIT):
            found = self._bare.after(moment_ms)
            if found is None or (self._end_ms is not None and found > self._end_ms):
                return None
            skipped = self.calendar.open_again(found) if self.calendar else None
            if skipped is None:
                return found
            moment_ms = skipped
        return None

    def due(self, nominal_ms: int) -> int:
        """When the tick of a nominal time is due: jitter included, which is the same wherever it is asked."""
        if not self.jitter_ms:
            return nominal_ms
        digest = hashlib.blake2b(f"{self._name} {nominal_ms}".encode(), digest_size=8).digest()
        return nominal_ms + int.from_bytes(digest) % (self.jitter_ms + 1)

    def before(self, moment_ms: int) -> int | None:
        """The last nominal time before a moment, if there is one in the hundred years before."""
        known = self._before
        if known is not None and known[0] == moment_ms:
            return known[1]
        start = self._start_ms - 1 if self._start_ms is not None else 0
        found = next(iter(timetable.latest(self, moment_ms - 1, after_ms=max(start, 0))), None)
        self._before = (moment_ms, found)
        return found


@lru_cache(maxsize=4096)
def _ticks(
    name: str, cron: str, every_ms: int, anchor_ms: int, at_ms: tuple[int, ...], tz: str,
    start_ms: int | None, end_ms: int | None, jitter_ms: int, exclude: tuple[str, ...],
) -> Ticks:  # fmt: skip
    bare: Timetable
    if cron:
        bare = timetable.zoned(crons.parse(cron, name), tz)
    elif every_ms:
        bare = Every(every_ms, anchor_ms)
    else:
        bare = Moments(at_ms)
    found = Ticks(name, bare, (start_ms, end_ms))
    found.calendar = Calendar(exclude, tz) if exclude else None
    found.jitter_ms = jitter_ms
    return found


# -- from what a user writes ---------------------------------------------------------------------------------

TIMING = ("cron", "every", "at")
OPTIONS = (
    *TIMING, "anchor", "tz", "start", "end", "jitter", "exclude", "misfire", "grace", "catch_up", "overlap",
    "unless_fresh",
)  # fmt: skip
"""What can be said of a schedule, besides its name, its task, and the options of its jobs."""


def check_name(name: str) -> str:
    """A schedule's name. Raises `InvalidOption`."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidOption(f"schedule name {name!r} must be 1 to 90 characters of A-Z a-z 0-9 . _ : -")
    return name


def timing(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Definition` that `options` set, of those in `OPTIONS`. Raises `InvalidOption` or, for
    an unknown zone, `ConfigurationError`.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - set(OPTIONS):
        raise InvalidOption(f"a schedule has no option {name!r}; there are {', '.join(OPTIONS)}")
    kinds = [name for name in TIMING if name in given]
    if len(kinds) > 1:
        raise InvalidOption(f"give one of cron=, every= and at=, not {' and '.join(kinds)}")
    tz = given.get("tz", "UTC")
    if not isinstance(tz, str):
        raise InvalidOption(f"tz= takes the name of a zone, as in 'Europe/Berlin', not {tz!r}")
    zones.zone(tz)
    found: dict[str, Any] = {}
    for name, value in given.items():
        found.update(_CHECKS[name](value, tz))
    if kinds:  # one of the three replaces the others
        found = {"cron": "", "every_ms": 0, "at_ms": (), **found}
    return found


def check(definition: Definition) -> Definition:
    """The definition, if its parts fit together. Raises `InvalidOption`."""
    check_name(definition.name)
    ids.check_queue(definition.queue)
    if not (definition.cron or definition.every_ms or definition.at_ms):
        raise InvalidOption(f"schedule {definition.name!r} says no time: give cron=, every= or at=")
    if definition.end_ms is not None and (definition.start_ms or 0) > definition.end_ms:
        raise InvalidOption(f"schedule {definition.name!r} ends before it starts")
    table = definition.table()
    first = table.after((definition.start_ms or 0) - 1)
    if first is None:
        raise InvalidOption(f"schedule {definition.name!r} has no tick between its bounds and exclusions")
    second = table.after(first)
    if second is not None and definition.jitter_ms >= second - first:
        raise InvalidOption(
            f"schedule {definition.name!r}: jitter must be shorter than the time from one tick to the next"
        )
    return definition


def _cron(value: Any, _: str) -> dict[str, Any]:
    return {"cron": crons.parse(value).expression}


def _every(value: Any, _: str) -> dict[str, Any]:
    found = span_ms(value, "every")
    if found < SHORTEST_MS:
        raise InvalidOption(f"every={value!r} is shorter than a second")
    return {"every_ms": found}


def _at(value: Any, tz: str) -> dict[str, Any]:
    moments = value if isinstance(value, list | tuple) else [value]
    if not 0 < len(moments) <= MOST_MOMENTS:
        raise InvalidOption(f"at= takes 1 to {MOST_MOMENTS} moments")
    return {"at_ms": tuple(sorted({moment_ms(moment, "at", tz) for moment in moments}))}


def _moment(name: str) -> Any:
    return lambda value, tz: {f"{name}_ms": moment_ms(value, name, tz)}


def _span(name: str) -> Any:
    return lambda value, _: {f"{name}_ms": span_ms(value, name)}


def _one_of(name: str, allowed: tuple[str, ...]) -> Any:
    def checked(value: Any, _: str) -> dict[str, Any]:
        if value not in allowed:
            raise InvalidOption(f"{name}={value!r} must be one of {', '.join(allowed)}")
        return {name: value}

    return checked


def _catch_up(value: Any, _: str) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_CATCH_UP:
        raise InvalidOption(f"catch_up={value!r} must be a whole number from 1 to {MOST_CATCH_UP}")
    return {"catch_up": value}


def _exclude(value: Any, tz: str) -> dict[str, Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidOption("exclude= takes a list of days, as in ['12-25', '2026-05-01']")
    days = tuple(str(day) for day in value)
    Calendar(days, tz)
    return {"exclude": days}


_CHECKS: dict[str, Any] = {
    "cron": _cron,
    "every": _every,
    "at": _at,
    "anchor": _moment("anchor"),
    "tz": lambda value, _: {"tz": value},
    "start": _moment("start"),
    "end": _moment("end"),
    "jitter": _span("jitter"),
    "exclude": _exclude,
    "misfire": _one_of("misfire", get_args(Misfire)),
    "grace": _span("grace"),
    "catch_up": _catch_up,
    "overlap": _one_of("overlap", get_args(Overlap)),
    "unless_fresh": _span("unless_fresh"),
}
