"""How a schedule is kept in Redis: its record, the hands of its clock, and the list of its runs.

The record (msgpack) says what was defined, by whom, and what people changed since. The *hands* say which
tick comes next. They are the token of every change: a script changes a schedule only if its hands stand where
the caller believes, so no two schedulers move them at once, and none moves those of a definition that has
changed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ferryman.errors import PayloadCorrupt, UnsupportedVersion
from ferryman.schedules.definition import Definition, check

FORMAT = 1


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A schedule as it is kept."""

    base: Definition
    """As defined where it comes from."""
    source: str = ""
    """``code:<app>`` or ``file:<path>``; empty for one that was added at run time."""
    edits: dict[str, Any] = {}
    """Fields that somebody changed at run time."""
    paused: str = ""
    """Why; empty: it is not."""
    removed: bool = False
    """Deleted at run time, although its source still defines it."""
    moved_from: str = ""
    """The queue under which it was kept until now, where it may not have been deleted yet."""
    changed_ms: int = 0
    created_ms: int = 0
    format: int = FORMAT

    def definition(self) -> Definition:
        """What holds now: the base with the edits on top. Raises `InvalidOption`."""
        return effective(self.base, self.edits)

    @property
    def ticks(self) -> bool:
        """Whether it is to have ticks at all."""
        return not (self.paused or self.removed)


def effective(base: Definition, edits: dict[str, Any]) -> Definition:
    """`base` with the edits on top, checked. Raises `InvalidOption`."""
    if not edits:
        return base
    known = set(Definition.__struct_fields__)
    changed = {name: value for name, value in edits.items() if name in known}
    plain = {**msgspec.structs.asdict(base), **changed}
    return check(msgspec.convert(plain, Definition))


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """The record as bytes."""
    return _encode(record)


def decode(raw: bytes) -> Record:
    """The record in `raw`. Raises `PayloadCorrupt` or `UnsupportedVersion`."""
    try:
        found = _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PayloadCorrupt(f"a schedule's record in Redis is not one of ours: {error}") from None
    if found.format > FORMAT:
        raise UnsupportedVersion(
            f"the schedule was written by a newer Ferryman (format {found.format}; this one reads {FORMAT})"
        )
    return found


class Hands(NamedTuple):
    """``<version> <next> <last>``: nominal times in ms, ``-`` for none."""

    version: int = 0
    """Counts the changes of the record."""
    next_ms: int | None = None
    last_ms: int | None = None
    """The last tick that was fired or skipped."""

    def text(self) -> str:
        """As it is kept."""
        return f"{self.version} {_or_dash(self.next_ms)} {_or_dash(self.last_ms)}"

    @classmethod
    def read(cls, text: bytes | str | None) -> Hands:
        """The reverse of `text`; of nothing, hands that never stood anywhere. Raises `PayloadCorrupt`."""
        if not text:
            return cls()
        try:
            version, upcoming, last = (text.decode() if isinstance(text, bytes) else text).split(" ")
            return cls(int(version), _number(upcoming), _number(last))
        except (ValueError, UnicodeDecodeError):
            raise PayloadCorrupt(f"the hands of a schedule in Redis are not ours: {text!r}") from None


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


class RunEntry(NamedTuple):
    """One line of a schedule's history, as scripts write it: ``<id> <nominal> <when> <kind>``."""

    local: str
    """Of the job; ``-`` where none was enqueued."""
    nominal_ms: int
    at_ms: int
    kind: str


def read_run(line: bytes) -> RunEntry | None:
    """The entry in a line; None for a foreign one, which hides no other."""
    try:
        local, nominal, at, kind = line.decode().split(" ", 3)
        return RunEntry(local, int(float(nominal)), int(float(at)), kind)
    except (ValueError, UnicodeDecodeError):
        return None
