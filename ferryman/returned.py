"""What a task returns, as bytes and back. More forgiving than arguments: the work is already done."""

from __future__ import annotations

from types import NoneType
from typing import Any

import msgspec

from ferryman import plain
from ferryman.annotations import UNTYPED, kind_of
from ferryman.complaints import MISFITS, reason_of
from ferryman.errors import InvalidArguments, PayloadCorrupt
from ferryman.plain import describe, to_plain
from ferryman.signatures import Described
from ferryman.wire import Bytes, decoder, pack


class ResultCodec:
    """Writes and reads the results of one task."""

    def __init__(self, described: Described, name: str, signature_text: str) -> None:
        self._name = name
        self._signature_text = signature_text
        hint = described.hints.get("return", Any)
        self.type: Any = NoneType if hint is None else hint
        kind = kind_of(self.type)
        self.refusal = kind.refusal
        self.is_declared = self.type is not NoneType and (
            "return" in described.hints or "return" in described.unresolved
        )
        self._kind = UNTYPED if kind.refusal else kind
        self._read = decoder(self._kind.wire)

    def encode(self, value: Any) -> bytes:
        """A result's bytes. A value of another type than annotated travels too, if it is plain data.

        Raises `InvalidArguments` for one that cannot travel.
        """
        kind = self._kind
        try:
            return pack(value if kind.prepare is None else kind.prepare(value))
        except MISFITS as error:
            reason = reason_of(kind, self._read, value) or f": {type(error).__name__}"
        try:
            return pack(to_plain(value))
        except MISFITS:
            raise InvalidArguments(
                f"the result of {self._signature_text} cannot travel{reason}; returned: {describe(value)}"
            ) from None

    def decode(self, data: Bytes) -> Any:
        """The result as annotated, or as plain data if it is of another type. Raises `PayloadCorrupt`."""
        try:
            try:
                return self._read(data)
            except msgspec.ValidationError:
                return plain.unpack(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise PayloadCorrupt(f"a result of task {self._name!r} is damaged: {error}") from None
