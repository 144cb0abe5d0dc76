"""Time zones as a list of stretches, in each of which the distance to UTC stays the same.

`zoneinfo` answers for one moment at a time. Rules about clock changes need the changes themselves, so they
are found once for each zone and year, by looking every few hours and halving what lies between.
Everything here counts in whole seconds since the epoch; *wall* seconds are those that a local clock shows.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ferryman.errors import ConfigurationError

_LOOK_S = 6 * 3600  # no zone changes its clock twice within so little time
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (a wall clock has no zone)
_YEARS = range(1970, 2200)


@lru_cache(maxsize=1024)
def zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone of that IANA name. Raises `ConfigurationError` with the nearest name there is."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"there is no time zone {name!r}{_hint(name)}") from None


def _hint(name: str) -> str:
    import difflib

    known = sorted(zoneinfo.available_timezones())
    if not known:
        return ": this machine has no zone data (pip install tzdata)"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    by_city = [full for full in known if full.rpartition("/")[2].lower() == name.lower().replace(" ", "_")]
    found = (by_city or near)[:1]
    return f"; did you mean {found[0]!r}?" if found else "; it should read like 'Europe/Berlin'"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which a zone keeps its distance to UTC: from `start` to before `end`."""

    start: int
    end: int
    offset: int
    """Seconds that the local clock is ahead of UTC."""
    before: int
    """The offset until `start`; larger than `offset` where the clock was set back, smaller where forward."""


def offset_at(name: str, moment: int) -> int:
    """Seconds that the zone's clock is ahead of UTC at a moment."""
    found = datetime.fromtimestamp(moment, zone(name)).utcoffset()
    return int((found or timedelta()).total_seconds())


def wall(moment: int) -> datetime:
    """What a clock shows that is `moment` seconds after 1970 by its own count; without a zone."""
    return _EPOCH + timedelta(seconds=moment)


def wall_seconds(shown: datetime) -> int:
    """The reverse of `wall`."""
    return int((shown - _EPOCH).total_seconds())


def stretches(name: str, moment: int) -> Iterator[Stretch]:
    """The zone's stretches, from the one that holds `moment` on. Ends with the year 2199."""
    first = max(year_of(moment), _YEARS.start)
    start, before = _last_change(name, first, moment)
    offset = offset_at(name, moment)
    for year in range(first, _YEARS.stop):
        for at, now in _changes(name, year):
            if at <= moment:
                continue
            yield Stretch(start, at, offset, before)
            start, before, offset = at, offset, now
    yield Stretch(start, _year_start(_YEARS.stop), offset, before)


def _last_change(name: str, year: int, moment: int) -> tuple[int, int]:
    """When the clock last changed up to `moment`, and its offset before that. A change of long ago does not
    matter, so two years are enough.
    """
    for candidate in (year, year - 1):
        changes = [at for at, _ in _changes(name, candidate) if at <= moment]
        if changes:
            return changes[-1], offset_at(name, changes[-1] - 1)
    return _year_start(year - 1), offset_at(name, moment)


@lru_cache(maxsize=4096)
def _changes(name: str, year: int) -> tuple[tuple[int, int], ...]:
    """The clock changes of a year: the moment, and the offset from then on."""
    start, end = _year_start(year), _year_start(year + 1)
    found = []
    low, low_offset = start - 1, offset_at(name, start - 1)
    while low < end - 1:
        high = min(low + _LOOK_S, end - 1)
        high_offset = offset_at(name, high)
        if high_offset != low_offset:
            found.append((_halved(name, low, high, low_offset), high_offset))
        low, low_offset = high, high_offset
    return tuple(found)


def _halved(name: str, low: int, high: int, offset: int) -> int:
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(name, middle) == offset:
            low = middle
        else:
            high = middle
    return high


def year_of(moment: int) -> int:
    """The year, in UTC."""
    return datetime.fromtimestamp(moment, UTC).year


def _year_start(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
