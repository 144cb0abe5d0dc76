"""Plain data: what travels without an annotation, and comes back as what it was.

Atoms, lists and dicts are msgpack as it is. Other values of the standard library that msgpack does not know
(UUID, Decimal, dates, paths, sets, tuples) travel as msgpack extensions with the codes below. Nothing here
ever makes an object of a user's class, so reading runs no code but this module's.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from os import fsdecode, fsencode
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import NoneType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec.msgpack import Ext

from ferryman.errors import PayloadCorrupt

ATOMS = frozenset((NoneType, bool, int, float, str, bytes))
DEPTH = 100
"""How deep plain data may be nested: far from where reading it could exhaust a worker's stack."""
_MOST_INT, _LEAST_INT = 2**64 - 1, -(2**63)


class Untravellable(Exception):
    """A value, or every value of a type, that cannot travel; the text says why.

    The codec makes it an error for users.
    """


# -- writing --------------------------------------------------------------------------------------------


def to_plain(value: Any, depth: int = 0) -> Any:
    """`value` with everything that msgpack does not know replaced by extensions. Raises `Untravellable`."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if depth > DEPTH:
        raise Untravellable(_too_deep())
    if kind is list:
        if ATOMS.issuperset(map(type, value)):
            return value
        return [to_plain(item, depth + 1) for item in value]
    if kind is dict:
        if ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, value.values())):
            return value
        return {_key(key): to_plain(item, depth + 1) for key, item in value.items()}
    write = _WRITERS.get(kind)
    if write is None:
        raise Untravellable(foreign(value))
    return write(value, depth)


class Key:
    """A dict key that travels as an extension.

    `Ext` itself cannot be hashed; an encoder's hook puts it in this one's place.
    """

    __slots__ = ("ext",)

    def __init__(self, ext: Ext) -> None:
        self.ext = ext


def _key(key: Any) -> Any:
    plain = to_plain(key)
    return Key(plain) if type(plain) is Ext else plain


def _key_hook(value: Any) -> Any:
    if type(value) is Key:
        return value.ext
    raise Untravellable(foreign(value))


def _sequence(code: int) -> Callable[[Any, int], Ext]:
    def write(value: Any, depth: int) -> Ext:
        return Ext(code, _pack([to_plain(item, depth + 1) for item in value]))

    return write


def _datetime(value: datetime, _depth: int) -> Ext:
    text = value.isoformat()
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        text = f"{text}[{value.tzinfo.key}]"
    return Ext(_DATETIME, text.encode())


def _text(code: int) -> Callable[[Any, int], Ext]:
    return lambda value, _depth: Ext(code, str(value).encode())


def _iso(code: int) -> Callable[[Any, int], Ext]:
    return lambda value, _depth: Ext(code, value.isoformat().encode())


def _path(code: int) -> Callable[[Any, int], Ext]:
    return lambda value, _depth: Ext(code, fsencode(str(value)))


# The codes are part of the wire format: a code is never given another meaning.
_TUPLE, _SET, _FROZENSET, _UUID, _DECIMAL, _DATETIME, _DATE, _TIME, _TIMEDELTA, _PATH, _POSIX, _WINDOWS = (
    range(1, 13)
)
_WRITERS: dict[type, Callable[[Any, int], Ext]] = {
    tuple: _sequence(_TUPLE),
    set: _sequence(_SET),
    frozenset: _sequence(_FROZENSET),
    UUID: lambda value, _depth: Ext(_UUID, value.bytes),
    Decimal: _text(_DECIMAL),
    datetime: _datetime,
    date: _iso(_DATE),
    time: _iso(_TIME),
    timedelta: lambda value, _depth: Ext(_TIMEDELTA, _pack((value.days, value.seconds, value.microseconds))),
    PosixPath: _path(_PATH),
    WindowsPath: _path(_PATH),
    PurePosixPath: _path(_POSIX),
    PureWindowsPath: _path(_WINDOWS),
}
PLAIN_TYPES = ATOMS | {list, dict, Path, PurePath} | _WRITERS.keys()
"""What travels without an annotation; an int only within 64 bits."""


# -- reading --------------------------------------------------------------------------------------------


def from_ext(code: int, data: memoryview) -> Any:
    """The value of one extension: the ``ext_hook`` of every decoder. Raises `PayloadCorrupt`."""
    read = _READERS.get(code)
    if read is None:
        raise PayloadCorrupt(
            f"a value of unknown kind {code} in the arguments: a newer Ferryman wrote it, or it is damaged"
        )
    try:
        return read(data)
    except (ValueError, TypeError, ArithmeticError, RecursionError, msgspec.MsgspecError) as error:
        raise PayloadCorrupt(
            f"a damaged value of kind {code} in the arguments ({type(error).__name__})"
        ) from None


def _read_datetime(data: memoryview) -> datetime:
    text, _, zone = bytes(data).decode().partition("[")
    found = datetime.fromisoformat(text)
    if zone:
        try:
            return found.astimezone(ZoneInfo(zone.rstrip("]")))
        except (
            OSError,
            ValueError,
            KeyError,
        ):  # this machine does not know the zone: the moment and its offset are kept
            return found
    return found


_READERS: dict[int, Callable[[memoryview], Any]] = {
    _TUPLE: lambda data: tuple(unpack(data)),
    _SET: lambda data: set(unpack(data)),
    _FROZENSET: lambda data: frozenset(unpack(data)),
    _UUID: lambda data: UUID(bytes=bytes(data)),
    _DECIMAL: lambda data: Decimal(bytes(data).decode()),
    _DATETIME: _read_datetime,
    _DATE: lambda data: date.fromisoformat(bytes(data).decode()),
    _TIME: lambda data: time.fromisoformat(bytes(data).decode()),
    _TIMEDELTA: lambda data: timedelta(*unpack(data)),
    _PATH: lambda data: Path(fsdecode(bytes(data))),
    _POSIX: lambda data: PurePosixPath(fsdecode(bytes(data))),
    _WINDOWS: lambda data: PureWindowsPath(fsdecode(bytes(data))),
}
_pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_key_hook).encode
unpack: Callable[[bytes | memoryview | msgspec.Raw], Any] = msgspec.msgpack.Decoder(ext_hook=from_ext).decode
"""Plain data from its bytes. Raises `msgspec.MsgspecError` or `PayloadCorrupt`."""


# -- explaining -----------------------------------------------------------------------------------------


def describe(value: Any) -> str:
    """What a value is, without telling it: values may be secrets."""
    kind = type(value).__name__
    if type(value) in (str, bytes, list, dict, tuple, set, frozenset):
        return f"{kind} of length {len(value)}"
    return kind


def complaint(value: Any) -> tuple[str, str] | None:
    """Where in `value` something cannot travel as plain data (a path such as ``[0]['name']``), and why.

    None if all of it can.
    """
    return next(_complaints(value, "", 0), None)


def _complaints(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    kind = type(value)
    if depth > DEPTH:
        yield "", _too_deep()
    elif kind is int and not _LEAST_INT <= value <= _MOST_INT:
        yield path, "an integer beyond 64 bits does not travel; pass it as str"
    elif kind is str and not _is_unicode(value):
        yield (
            path,
            "a str with lone surrogates is no text; pass bytes, or repair it with .encode(errors='replace')",
        )
    elif kind is dict:
        for key, item in value.items():
            yield from _complaints(key, path, depth + 1)
            yield from _complaints(item, f"{path}[{_shown(key)}]", depth + 1)
    elif kind in (list, tuple):
        for index, item in enumerate(value):
            yield from _complaints(item, f"{path}[{index}]", depth + 1)
    elif kind in (set, frozenset):
        for item in value:
            yield from _complaints(item, f"{path}[...]", depth + 1)
    elif kind not in ATOMS and kind not in _WRITERS:
        yield path, foreign(value)


def _shown(key: Any) -> str:
    return repr(key) if type(key) in (str, int, bool) and len(str(key)) <= 40 else "..."


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep() -> str:
    return f"it is nested deeper than {DEPTH} levels, or contains itself"


def foreign(value: Any) -> str:
    """Why `value`, which is no plain data, cannot travel as such, and what can be done."""
    kind = type(value)
    name = kind.__name__
    if is_rebuildable(kind):
        return (
            f"a {name} travels only where annotated; annotate it as {name} so that the worker can rebuild it"
        )
    base = next((base for base in _NEAR if issubclass(kind, base)), None)
    if base is not None:
        return f"a {name} would come back as {base.__name__}; pass {base.__name__}(...) of it"
    return f"a {name} is no plain data; pass what the worker finds or makes it from (an id, a path, a dict)"


def is_rebuildable(kind: type) -> bool:
    """Whether an annotation makes values of this class travel."""
    if issubclass(kind, (msgspec.Struct, Enum)) or dataclasses.is_dataclass(kind) or is_model(kind):
        return True
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_model(kind: Any) -> bool:
    """Whether this is a pydantic model's class.

    Pydantic is not imported for it: without it there is no model.
    """
    pydantic = sys.modules.get("pydantic")
    base = getattr(pydantic, "BaseModel", None)  # absent while pydantic itself is being imported
    return base is not None and isinstance(kind, type) and issubclass(kind, base)


_NEAR = (
    bool,
    int,
    float,
    str,
    bytes,
    list,
    dict,
    tuple,
    set,
    frozenset,
    datetime,
    date,
    time,
    timedelta,
    Decimal,
    UUID,
)
