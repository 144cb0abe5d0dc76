"""What travels in a job: a call checked against its task's signature, as msgpack, and back.

A call is checked at enqueue by reading what was written with the reader that the worker will use, so what
passes here can be read there. A codec is made once a task; `encode` and `decode` are on every job's hot path.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, TypedDict, cast

import msgspec

from ferryman import plain, signatures
from ferryman.annotations import UNTYPED, Kind, kind_of
from ferryman.complaints import MISFITS, reason_of
from ferryman.errors import ConfigurationError, InvalidArguments, PayloadCorrupt
from ferryman.plain import ATOMS, describe
from ferryman.returned import ResultCodec
from ferryman.wire import Bytes, Decode, decoder, pack

_NEVER = 1 << 31
_SHAPES = 256
_raws = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_raw_map = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class _Slot:
    """A parameter, or what a starred one takes."""

    name: str
    kind: Kind
    read: Decode
    unresolved: str | None = None

    def prepare(self, value: Any) -> Any:
        return value if self.kind.prepare is None else self.kind.prepare(value)


class ArgumentCodec:
    """Checks, writes and reads the arguments and the result of one task.

    `carries_objects` is for an app whose payloads are pickled: then parameters may be of any class. Raises
    `ConfigurationError` for a required parameter whose annotation can never travel.
    """

    def __init__(self, fn: Callable[..., Any], *, name: str, carries_objects: bool = False) -> None:
        described = signatures.read(fn)
        self.name = name
        self.signature = described.signature
        self.signature_text = signatures.text(name, described.signature)
        self._slots: list[_Slot] = []
        self._keywords: dict[str, _Slot] = {}
        self._rest: _Slot | None = None
        self._rest_named: _Slot | None = None
        self._required: list[str] = []
        for parameter in described.signature.parameters.values():
            self._add(parameter, described, carries_objects)

        own = {slot.name for slot in self._slots}
        self._least = len(self._required) if own.issuperset(self._required) else _NEVER
        self._most = _NEVER if self._rest else len(self._slots)
        positional = [*self._slots, *([self._rest] if self._rest else [])]
        named = [*self._keywords.values(), *([self._rest_named] if self._rest_named else [])]
        self._is_untyped = not any(slot.kind.is_typed for slot in positional)
        self._needs_preparing = any(slot.kind.prepare for slot in positional)
        self._keywords_need_preparing = any(slot.kind.prepare for slot in named)
        self._shapes: set[tuple[object, ...]] = set()
        self._readers: dict[int, Decode] = {}
        self._read_untyped = decoder(tuple[Any, ...])
        fixed = not self._is_untyped and self._least == self._most
        self._read_all = self._reader(self._most) if fixed else None
        self._read_keywords = self._keyword_reader()

        self._result = ResultCodec(described, name, self.signature_text)
        self.result_type = self._result.type
        """The return annotation; `Any` where there is none, ``NoneType`` for None."""
        self.returns_value = self._result.is_declared and (self._result.refusal is None or carries_objects)
        """Whether the signature declares a result, and one that can travel."""
        self.encode_result = self._result.encode
        self.decode_result = self._result.decode

    def _add(self, parameter: Parameter, described: signatures.Described, carries_objects: bool) -> None:
        name, form = parameter.name, parameter.kind
        kind = kind_of(described.hints[name]) if name in described.hints else UNTYPED
        slot = _Slot(name, kind, decoder(kind.wire), described.unresolved.get(name))
        if form is Parameter.VAR_POSITIONAL:
            self._rest = slot
            return
        if form is Parameter.VAR_KEYWORD:
            self._rest_named = slot
            return
        if form is not Parameter.KEYWORD_ONLY:
            self._slots.append(slot)
        if form is not Parameter.POSITIONAL_ONLY:
            self._keywords[name] = slot
        if parameter.default is Parameter.empty:
            self._required.append(name)
            if kind.refusal and not carries_objects:
                raise ConfigurationError(
                    f"task {self.signature_text}: parameter {name!r} can never travel: {kind.refusal}"
                )

    def __repr__(self) -> str:
        return f"<ArgumentCodec {self.signature_text}>"

    # -- writing -----------------------------------------------------------------------------------------

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, bytes | None]:
        """The positional arguments as a msgpack array, the keyword arguments as a map or None.

        Raises `InvalidArguments`.
        """
        if kwargs or not self._least <= len(args) <= self._most:
            return self._encode_named(args, kwargs)
        try:
            if self._is_untyped:
                for value in args:
                    if type(value) not in ATOMS:
                        return pack(self._prepared(args)), None
                return pack(args), None
            packed = pack(self._prepared(args) if self._needs_preparing else args)
            (self._readers.get(len(args)) or self._reader(len(args)))(packed)
        except MISFITS as error:
            raise self._misfit(args, kwargs, error) from None
        return packed, None

    def encode_many(self, calls: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """`encode` for many calls with positional arguments only."""
        if self._is_untyped or self._needs_preparing or self._least != self._most:
            nothing: dict[str, Any] = {}
            return [self.encode(args, nothing)[0] for args in calls]
        count, read = self._most, self._reader(self._most)
        found: list[bytes] = []
        args: tuple[Any, ...] = ()
        try:
            for args in calls:
                if len(args) != count:
                    break
                packed = pack(args)
                read(packed)
                found.append(packed)
        except MISFITS as error:
            raise self._misfit(args, {}, error) from None
        if len(found) < len(calls):
            self.check_call(args, ())
        return found

    def _encode_named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bytes, bytes | None]:
        self.check_call(args, kwargs)
        try:
            packed = pack(self._prepared(args) if self._needs_preparing else args)
            self._reader(len(args))(packed)
            if not kwargs:
                return packed, None
            named = pack(self._prepared_named(kwargs) if self._keywords_need_preparing else kwargs)
            self._named(named)
        except MISFITS as error:
            raise self._misfit(args, kwargs, error) from None
        return packed, named

    def _prepared(self, args: Sequence[Any]) -> list[Any]:
        found = [slot.prepare(value) for slot, value in zip(self._slots, args, strict=False)]
        if self._rest is not None:
            found.extend(map(self._rest.prepare, args[len(self._slots) :]))
        return found

    def _prepared_named(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {name: self._slot_named(name).prepare(value) for name, value in kwargs.items()}

    # -- reading -----------------------------------------------------------------------------------------

    def decode(self, args: Bytes, kwargs: Bytes | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, rebuilt as annotated. `kwargs` may be None or nil.

        Raises `InvalidArguments` if the task's signature no longer fits them, `PayloadCorrupt` if they are
        not ours.
        """
        try:
            if kwargs is not None and len(kwargs) > 1:  # one byte is nil, or an empty map
                return self._decode_named(args, kwargs)
            if self._read_all is not None:
                return self._read_all(args), {}
            if self._is_untyped:
                found = self._read_untyped(args)
                if self._least <= len(found) <= self._most:
                    return found, {}
            count = _length(args)
            if not self._least <= count <= self._most:
                self._check_shape(count, ())
            return (self._readers.get(count) or self._reader(count))(args), {}
        except msgspec.ValidationError:
            return self._decode_again(args, kwargs)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise self._corrupt(error) from None

    def _decode_named(self, args: Bytes, kwargs: Bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        count, named = _length(args), self._named(kwargs)
        if len(named) != _length(kwargs):  # the reader leaves out names that it does not know
            self._check_shape(count, _raw_map(kwargs))
        self._check_shape(count, named)
        return self._reader(count)(args), named

    def _decode_again(self, args: Bytes, kwargs: Bytes | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Read what does not fit at first: a producer that knew only the task's name wrote plain data."""
        try:
            values = plain.unpack(args)
            named = plain.unpack(kwargs) if kwargs is not None and len(kwargs) > 1 else {}
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise self._corrupt(error) from None
        if not isinstance(values, list) or not isinstance(named, dict):
            raise self._corrupt("they are no array and map")
        self._check_shape(len(values), named)
        try:
            found = self._reader(len(values))(pack(self._prepared(values)))
            return found, self._named(pack(self._prepared_named(named))) if named else {}
        except MISFITS as error:
            raise self._misfit(values, named, error) from None

    def _corrupt(self, why: object) -> PayloadCorrupt:
        return PayloadCorrupt(f"the arguments of a job of task {self.name!r} are damaged: {why}")

    def _reader(self, count: int) -> Decode:
        """Reads an array of so many positional arguments."""
        if self._is_untyped:
            return self._read_untyped
        found = self._readers.get(count)
        if found is None:
            if count > len(self._slots):
                return self._reader_with_rest()
            wires = tuple(slot.kind.wire for slot in self._slots[:count])
            found = self._readers[count] = decoder(_tuple_of(wires))
        return found

    def _reader_with_rest(self) -> Decode:
        own, rest = len(self._slots), cast(_Slot, self._rest)
        read_rest = self._readers.setdefault(-1, decoder(_tuple_of((rest.kind.wire, ...))))
        if not own:
            return read_rest
        read_own = self._reader(own)

        def read(packed: Bytes) -> Any:
            raws = _raws(packed)
            return read_own(pack(raws[:own])) + read_rest(pack(raws[own:]))

        return read

    def _keyword_reader(self) -> Decode | None:
        """Reads a map of keyword arguments in one go; None where any name may come."""
        if self._rest_named is not None:
            return None
        make = cast(Any, TypedDict)  # mypy knows only those that are written out
        fields = {name: slot.kind.wire for name, slot in self._keywords.items()}
        return decoder(make("Keywords", fields, total=False))

    def _named(self, packed: Bytes) -> dict[str, Any]:
        if self._read_keywords is not None:
            return cast(dict[str, Any], self._read_keywords(packed))
        return {name: self._slot_named(name).read(raw) for name, raw in _raw_map(packed).items()}

    def _slot_named(self, name: str) -> _Slot:
        return self._keywords.get(name) or cast(_Slot, self._rest_named)  # names are checked before

    # -- the call ----------------------------------------------------------------------------------------

    def check_call(self, args: Sequence[Any], kwargs: Collection[str]) -> None:
        """Raises `InvalidArguments` unless the task takes so many arguments and these keywords."""
        self._check_shape(len(args), kwargs)

    def bind_names(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, defaults: bool = False
    ) -> dict[str, Any]:
        """The values by parameter name, however they were passed; with `defaults` also those not passed.

        Raises `InvalidArguments`.
        """
        self._check_shape(len(args), kwargs)
        bound = self.signature.bind(*args, **kwargs)
        if defaults:
            bound.apply_defaults()
        return dict(bound.arguments)

    def _check_shape(self, count: int, names: Collection[str]) -> None:
        shape = (count, *names)
        if shape in self._shapes:
            return
        if problem := self._binding_problem(count, names):
            raise InvalidArguments(f"{self.signature_text}: {problem}")
        if len(self._shapes) < _SHAPES:
            self._shapes.add(shape)

    def _binding_problem(self, count: int, names: Collection[str]) -> str | None:
        if count > self._most:
            return f"takes at most {len(self._slots)} positional arguments, {count} were given"
        given = {slot.name for slot in self._slots[:count]}
        passed_by_position = frozenset(given)
        for name in names:
            if name in passed_by_position and name in self._keywords:
                return f"parameter {name!r} was given twice, by position and by name"
            if name in self._keywords:
                given.add(name)
            elif self._rest_named is None:
                near = difflib.get_close_matches(str(name), self._keywords, n=1)
                return f"there is no parameter {name!r}{f'; did you mean {near[0]!r}?' if near else ''}"
        missing = [repr(name) for name in self._required if name not in given]
        return f"missing {', '.join(missing)}" if missing else None

    def _misfit(self, args: Sequence[Any], kwargs: dict[str, Any], error: Exception) -> InvalidArguments:
        """The error for users: the first parameter whose value does not go there and back by itself."""
        pairs = [(slot, slot.name, value) for slot, value in zip(self._slots, args, strict=False)]
        if self._rest is not None:
            rest = enumerate(args[len(self._slots) :])
            pairs += [(self._rest, f"{self._rest.name}[{index}]", value) for index, value in rest]
        pairs += [(self._slot_named(name), name, value) for name, value in kwargs.items()]
        for slot, name, value in pairs:
            if reason := reason_of(slot.kind, slot.read, value):
                told = f"parameter {name!r}{reason}; given: {describe(value)}"
                if slot.unresolved:
                    told += f" ({slot.unresolved!r} does not exist at run time: a TYPE_CHECKING import?)"
                return InvalidArguments(f"{self.signature_text}: {told}")
        return InvalidArguments(
            f"{self.signature_text}: the arguments cannot travel ({type(error).__name__})"
        )


def _tuple_of(parts: tuple[Any, ...]) -> Any:
    return tuple.__class_getitem__(parts)


def _length(packed: Bytes) -> int:
    """How many items an array or a map has, from its head."""
    view = memoryview(packed)
    head = view[0] if view else 0
    if 0x80 <= head <= 0x9F:  # fixmap and fixarray
        return head & 0x0F
    size = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}.get(head, 0)
    return int.from_bytes(view[1 : 1 + size], "big")
