"""Lengths of time and moments as people write them in definitions, and the way back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from ferryman.errors import InvalidOption
from ferryman.schedules import zones

Span = str | float | int | timedelta
_PARTS = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")
_UNITS_MS = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))
LONGEST_MS = 3660 * 86_400_000


def span_ms(value: Span, option: str) -> int:
    """Milliseconds of ``"1h30m"``, seconds or a timedelta. Raises `InvalidOption`."""
    if isinstance(value, str):
        match = _PARTS.fullmatch(value.strip())
        if not value.strip() or match is None:
            raise InvalidOption(f"{option}={value!r} is no length of time: write 90s, 15m, 1h30m, 2d or 1w")
        parts = zip(match.groups(), _UNITS_MS, strict=True)
        found = sum(round(float(part) * unit) for part, (_, unit) in parts if part)
    elif isinstance(value, timedelta):
        found = round(value.total_seconds() * 1000)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = round(value * 1000) if abs(value) < 1e12 else -1
    else:
        raise InvalidOption(f"{option} takes seconds, a timedelta or a text like '15m', not {value!r}")
    if not 0 <= found <= LONGEST_MS:
        raise InvalidOption(f"{option}={value!r} must be from 0 to ten years")
    return found


def span_text(ms: int) -> str:
    """``1h30m``: what `span_ms` reads."""
    if ms % 1000:
        return f"{ms / 1000:g}s"
    text = ""
    for unit, size in _UNITS_MS:
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def moment_ms(value: Any, option: str, zone: str) -> int:
    """Milliseconds since the epoch of a datetime or an ISO 8601 text; one without a zone is in `zone`.

    A local time that comes twice is the first. Raises `InvalidOption`.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidOption(
                f"{option}={value!r} is no moment in ISO 8601, as in 2030-01-31T08:00 or 2030-01-31T08:00Z"
            ) from None
    if not isinstance(value, datetime):
        raise InvalidOption(f"{option} takes a datetime or a text in ISO 8601, not {value!r}")
    if value.tzinfo is None:
        value = value.replace(tzinfo=zones.zone(zone))
    found: int = round(value.timestamp() * 1000)
    if not 0 <= found < 7_258_118_400_000:
        raise InvalidOption(f"{option}={value.isoformat()} must be between the years 1970 and 2199")
    return found


def moment_text(ms: int, zone: str = "UTC") -> str:
    """The moment in ISO 8601, with the zone's distance to UTC."""
    found = datetime.fromtimestamp(ms / 1000, UTC).astimezone(zones.zone(zone))
    return found.isoformat(timespec="milliseconds" if ms % 1000 else "seconds")
