"""A schedule's times in words: what a person compares with what they meant."""

from __future__ import annotations

from collections.abc import Callable

from ferryman.schedules.cron import parse
from ferryman.schedules.definition import Definition
from ferryman.schedules.spans import moment_text

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_DAY_NAMES = {day[:3].lower(): str(place) for place, day in enumerate(_DAYS[:7])}
_MONTH_NAMES = {month[:3].lower(): str(place) for place, month in enumerate(_MONTHS, 1)}
_UNITS = (
    (604_800_000, "week"),
    (86_400_000, "day"),
    (3_600_000, "hour"),
    (60_000, "minute"),
    (1000, "second"),
)


def describe(definition: Definition) -> str:
    """As in ``at 02:30, Monday to Friday, Europe/Berlin``."""
    if definition.cron:
        text = f"{describe_cron(definition.cron, definition.name)}, {definition.tz}"
    elif definition.every_ms:
        text = f"every {length(definition.every_ms)}"
        if definition.anchor_ms:
            text += f", counted from {moment_text(definition.anchor_ms, definition.tz)}"
    else:
        moments = [moment_text(at, definition.tz) for at in definition.at_ms]
        text = f"once, at {moments[0]}" if len(moments) == 1 else f"{len(moments)} times, first {moments[0]}"
    if definition.jitter_ms:
        text += f", up to {length(definition.jitter_ms)} later"
    if definition.exclude:
        shown = ", ".join(definition.exclude[:3])
        text += f", not on {shown}{' ...' if len(definition.exclude) > 3 else ''}"
    if definition.start_ms is not None:
        text += f", from {moment_text(definition.start_ms, definition.tz)}"
    if definition.end_ms is not None:
        text += f", until {moment_text(definition.end_ms, definition.tz)}"
    return text


def length(ms: int) -> str:
    """``15 minutes``, ``1 hour 30 minutes``; one of a single unit without its number: ``hour``."""
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        count, ms = divmod(ms, size)
        if count:
            parts.append((count, unit))
    if ms:
        parts.append((ms, "millisecond"))
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]
    return " ".join(f"{count} {unit}{'s' * (count != 1)}" for count, unit in parts)


def describe_cron(expression: str, name: str = "") -> str:
    """A cron expression in words. Raises `InvalidOption` for one that is wrong."""
    second, minute, hour, day, month, weekday = parse(expression, name).fields
    parts = [_clock(second, minute, hour)]
    days = _days(day, weekday)
    if days:
        parts.append(days)
    if month != "*":
        parts.append(f"in {_list(month, _month)}")
    return ", ".join(parts)


def _clock(second: str, minute: str, hour: str) -> str:
    if all(part.isdigit() for part in (second, minute)) and all(part.isdigit() for part in hour.split(",")):
        seconds = f":{int(second):02}" if int(second) else ""
        return "at " + _joined([f"{int(part):02}:{int(minute):02}{seconds}" for part in hour.split(",")])
    words = []
    if second != "0":
        words.append(_unit(second, "second"))
    if second == "0" or minute != "*":
        words.append(_unit(minute, "minute"))
    if hour != "*":
        words.append(_hours(hour))
    elif minute.isdigit() or minute == "h":
        words.append("of every hour")
    return " ".join(words)


def _unit(text: str, unit: str) -> str:
    base, _, step = text.partition("/")
    if text == "*":
        return f"every {unit}"
    if step:
        within = (
            ""
            if base == "*"
            else " (spread by name)"
            if base == "h"
            else f" from {base.replace('-', ' to ')}"
        )
        return f"every {unit if step == '1' else f'{step} {unit}s'}{within}"
    if text == "h":
        return f"at a {unit} derived from its name"
    return f"at {unit} {_list(text, str)}"


def _hours(text: str) -> str:
    base, _, step = text.partition("/")
    if step:
        rest = "" if base in {"*", "h"} else f" from {base.replace('-', ' to ')}"
        return f"of every {step} hours{rest}"
    if text == "h":
        return "of an hour derived from its name"
    return f"of hour {_list(text, str)}"


def _days(day: str, weekday: str) -> str:
    found = []
    if day not in {"*", "?"}:
        found.append(_day_words(day))
    if weekday not in {"*", "?"}:
        found.append(_list(weekday, _weekday))
    return " or ".join(found)


def _day_words(text: str) -> str:
    if "/" in text:
        base, _, step = text.partition("/")
        within = "" if base == "*" else f" from {base.replace('-', ' to ')}"
        return f"every {step} days of the month{within}"
    if text == "l":
        return "on the last day of the month"
    if text == "h":
        return "on a day of the month derived from its name"
    return f"on day {_list(text, _month_day)} of the month"


def _month_day(text: str) -> str:
    if text == "l":
        return "the last"
    return f"{text[:-1]} (the nearest weekday)" if text.endswith("w") else text


def _weekday(text: str) -> str:
    if text.startswith("l") and len(text) > 1:
        return f"the last {_weekday(text[1:])} of the month"
    base, sharp, which = text.partition("#")
    number = _DAY_NAMES.get(base, base)
    shown = _DAYS[int(number)] if number.isdigit() else base
    if not sharp:
        return shown
    ordinal = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth", "l": "last"}.get(
        which, which
    )
    return f"the {ordinal} {shown} of the month"


def _month(text: str) -> str:
    number = _MONTH_NAMES.get(text, text)
    return _MONTHS[int(number) - 1] if number.isdigit() else text


def _list(text: str, shown: Callable[[str], str]) -> str:
    found = []
    for part in text.split(","):
        base, _, step = part.partition("/")
        first, dash, last = base.partition("-")
        word = f"{shown(first)} to {shown(last)}" if dash else shown(base)
        found.append(f"{word} in steps of {step}" if step else word)
    return _joined(found)


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
