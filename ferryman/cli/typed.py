"""From words typed on a command line to values: arguments of tasks, times, name=value pairs."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ferryman.errors import InvalidArguments, InvalidOption

_LENGTH = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
_UNITS = (86_400, 3600, 60, 1)


def seconds(word: str) -> float:
    """``90``, ``1.5``, ``90s``, ``5m``, ``1h30m`` or ``2d`` in seconds. Raises `InvalidOption`."""
    match = _LENGTH.fullmatch(word.strip())
    if not word.strip() or match is None:
        raise InvalidOption(f"{word!r} is no length of time: write seconds, or 90s, 5m, 1h30m, 2d")
    return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part)


def moment(word: str) -> datetime:
    """A moment in ISO 8601; without a zone it is local time. Raises `InvalidOption`."""
    try:
        found = datetime.fromisoformat(word)
    except ValueError:
        raise InvalidOption(
            f"{word!r} is no moment in ISO 8601: write 2030-01-31T08:00:00+01:00, "
            "or without a zone for this machine's local time"
        ) from None
    return found if found.tzinfo is not None else found.astimezone()


def plain(word: str) -> Any:
    """`word` as JSON if it is that, else as text."""
    try:
        return json.loads(word)
    except ValueError:
        return word


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """``["k=v", ...]`` as a dict of texts. Raises `InvalidOption`."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidOption(f"{option} takes name=value, not {word!r}")
        found[name] = value
    return found


def arguments(
    fn: Callable[..., Any], words: Sequence[str], keywords: Mapping[str, str]
) -> tuple[list[Any], dict[str, Any]]:
    """The values to call `fn` with. A parameter declared ``str`` takes its word as it is; every other is JSON
    where it parses, and is converted to the declared type where that can be.
    """
    positional, named, rest, keyword_rest = _declared(fn)
    values = [
        _value(word, positional[place] if place < len(positional) else rest)
        for place, word in enumerate(words)
    ]
    return values, {name: _value(word, named.get(name, keyword_rest)) for name, word in keywords.items()}


def from_json(document: str) -> tuple[list[Any], dict[str, Any]]:
    """Arguments from one JSON document: an array of positional or an object of keyword arguments."""
    try:
        found = json.loads(document)
    except ValueError as error:
        raise InvalidArguments(f"--json-args is no JSON: {error}") from None
    if isinstance(found, list):
        return found, {}
    if isinstance(found, dict):
        return [], found
    raise InvalidArguments("--json-args takes an array of positional or an object of keyword arguments")


def _declared(fn: Callable[..., Any]) -> tuple[list[Any], dict[str, Any], Any, Any]:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return [], {}, Any, Any
    positional, named, rest, keyword_rest = [], {}, Any, Any
    for parameter in parameters:
        kind = _resolved(fn, parameter.annotation)
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = kind
        elif parameter.kind is parameter.VAR_KEYWORD:
            keyword_rest = kind
        else:
            named[parameter.name] = kind
            if parameter.kind is not parameter.KEYWORD_ONLY:
                positional.append(kind)
    return positional, named, rest, keyword_rest


def _resolved(fn: Callable[..., Any], annotation: Any) -> Any:
    """An annotation as a type; one that names what only type checkers import is Any."""
    if annotation is inspect.Parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, getattr(inspect.unwrap(fn), "__globals__", {}))["it"]
    except Exception:  # noqa: BLE001 (annotations are code, and may fail in any way)
        return Any


def _value(word: str, kind: Any) -> Any:
    if kind is str:
        return word
    value = plain(word)
    if kind is Any:
        return value
    for candidate in (value, word):
        with contextlib.suppress(Exception):  # not convertible: the task's own check will say what is wrong
            return msgspec.convert(candidate, kind, strict=False)
    return value
