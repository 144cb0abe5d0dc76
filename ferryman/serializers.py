"""Limits, compression, and pickle for apps that opt in, around the bytes of arguments and results.

By default a payload is what `ferryman.arguments` wrote, and nothing is added. What is written otherwise is
marked among the envelope's options, or in a result's marks: ``"s"`` names the serializer, ``"z"`` says
compressed. A marked payload is one msgpack bin that holds positional and keyword arguments together.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ferryman import plain
from ferryman.arguments import ArgumentCodec
from ferryman.compression import compress, decompress
from ferryman.errors import ConfigurationError, InvalidArguments, PayloadCorrupt, PayloadTooLarge
from ferryman.wire import Bytes

if TYPE_CHECKING:
    from ferryman.settings import Settings

Marks = dict[str, str | int]
SERIALIZER, COMPRESSED = "s", "z"
_LEAST_KEY = 16
_SIGNATURE = hashlib.sha256().digest_size
_pack = msgspec.msgpack.Encoder().encode
_bin = msgspec.msgpack.Decoder(bytes).decode
_NIL = msgspec.Raw(b"\xc0")
_pair = msgspec.msgpack.Decoder(tuple[msgspec.Raw, msgspec.Raw]).decode


class Serializer(Protocol):
    """Writes and reads the arguments and results of any task, given the codec made from the task's signature.

    What `encode` gives must be msgpack values; what `encode_result` gives may be any bytes.
    """

    @property
    def name(self) -> str:
        """What payloads are marked with."""

    def encode(
        self, codec: ArgumentCodec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, bytes | None]:
        """The arguments' bytes; the second is None if there are no keywords. Raises `InvalidArguments`."""

    def decode(
        self, codec: ArgumentCodec, args: Bytes, kwargs: Bytes | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments. Raises `PayloadCorrupt` or `InvalidArguments`."""

    def encode_result(self, codec: ArgumentCodec, value: Any) -> bytes:
        """The result's bytes. Raises `InvalidArguments`."""

    def decode_result(self, codec: ArgumentCodec, data: bytes) -> Any:
        """The result. Raises `PayloadCorrupt`."""


class MsgpackSerializer:
    """The default: data only, typed by the task's annotations."""

    name = "msgpack"

    def encode(
        self, codec: ArgumentCodec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, bytes | None]:
        return codec.encode(args, kwargs)

    def decode(
        self, codec: ArgumentCodec, args: Bytes, kwargs: Bytes | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return codec.decode(args, kwargs)

    def encode_result(self, codec: ArgumentCodec, value: Any) -> bytes:
        return codec.encode_result(value)

    def decode_result(self, codec: ArgumentCodec, data: bytes) -> Any:
        return codec.decode_result(data)


class PickleSerializer:
    """Any Python object, signed with HMAC-SHA256. Whoever knows a key can run code in your workers.

    Several keys allow for rotation: the first signs, each is accepted. The task's name is signed too, so a
    payload cannot be moved to another task. Raises `ConfigurationError` for a key shorter than 16 bytes.
    """

    name = "pickle"

    def __init__(self, key: bytes | Sequence[bytes]) -> None:
        keys = [key] if isinstance(key, bytes) else list(key)
        if not keys or any(not isinstance(one, bytes) or len(one) < _LEAST_KEY for one in keys):
            raise ConfigurationError(
                f"a key that signs pickles must be bytes, {_LEAST_KEY} or more of them (best 32 random ones)"
            )
        self._keys = keys

    def __repr__(self) -> str:
        return f"<PickleSerializer, {len(self._keys)} keys>"

    def __reduce__(self) -> Any:
        raise TypeError("a PickleSerializer holds secret keys and cannot be pickled itself")

    def encode(
        self, codec: ArgumentCodec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, bytes | None]:
        codec.check_call(args, kwargs)
        return _pack(self._signed(codec, "arguments", (args, kwargs))), None

    def decode(
        self, codec: ArgumentCodec, args: Bytes, kwargs: Bytes | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        found = self._verified(codec, "arguments", _unwrapped(codec, args))
        match found:
            case (tuple() as values, dict() as named):
                codec.check_call(values, named)
                return values, named
        raise PayloadCorrupt(f"the pickled arguments of a job of task {codec.name!r} are no arguments")

    def encode_result(self, codec: ArgumentCodec, value: Any) -> bytes:
        return self._signed(codec, "result", value)

    def decode_result(self, codec: ArgumentCodec, data: bytes) -> Any:
        return self._verified(codec, "result", data)

    def _signed(self, codec: ArgumentCodec, what: str, value: Any) -> bytes:
        try:
            data = pickle.dumps(value, protocol=5)
        except Exception as error:  # noqa: BLE001 - a user's __reduce__ may raise anything
            raise InvalidArguments(
                f"{codec.signature_text}: the {what} cannot be pickled ({type(error).__name__})"
            ) from None
        return _signature(self._keys[0], codec, what, data) + data

    def _verified(self, codec: ArgumentCodec, what: str, signed: bytes) -> Any:
        signature, data = signed[:_SIGNATURE], signed[_SIGNATURE:]
        if not any(hmac.compare_digest(signature, _signature(key, codec, what, data)) for key in self._keys):
            raise PayloadCorrupt(
                f"the pickled {what} of a job of task {codec.name!r} bears no valid signature and was not "
                "read: it was changed on the way, or signed with a key that this app does not have"
            )
        try:
            return pickle.loads(data)  # noqa: S301 - signed with our key
        except Exception as error:  # noqa: BLE001 - a user's class may raise anything
            raise PayloadCorrupt(
                f"the pickled {what} of task {codec.name!r} cannot be rebuilt here: {type(error).__name__}"
            ) from None


def _signature(key: bytes, codec: ArgumentCodec, what: str, data: bytes) -> bytes:
    signer = hmac.new(key, f"ferryman {what} of {codec.name}\0".encode(), hashlib.sha256)
    signer.update(data)
    return signer.digest()


def _unwrapped(codec: ArgumentCodec, packed: Bytes) -> bytes:
    try:
        found: bytes = _bin(packed)
    except msgspec.MsgspecError:
        raise PayloadCorrupt(
            f"the marked payload of a job of task {codec.name!r} is not in the form that its mark says"
        ) from None
    return found


@dataclass(frozen=True, slots=True)
class Limits:
    """In bytes, before compression."""

    max_payload: int = 1024 * 1024
    compress_over: int = 0
    """Payloads above it are compressed; 0: none are."""


class Payloads:
    """What an app writes and reads its payloads with. Safe to share between threads."""

    def __init__(self, limits: Limits | None = None, *, serializer: Serializer | None = None) -> None:
        self.limits = limits or Limits()
        self._custom = serializer
        self._most = self.limits.max_payload
        # One comparison on the hot path stands for both limits.
        self._unremarkable = min(self._most, self.limits.compress_over or self._most)

    @classmethod
    def of(cls, settings: Settings) -> Payloads:
        """As the settings say. With a ``pickle_key`` (several: spaces between) the app pickles its jobs."""
        keys = [key.encode() for key in settings.pickle_key.split()]
        limits = Limits(settings.max_payload, settings.compress_over)
        return cls(limits, serializer=PickleSerializer(keys) if keys else None)

    @property
    def carries_objects(self) -> bool:
        """Whether arguments may be of any class: what `ArgumentCodec` wants to know."""
        return self._custom is not None

    # -- arguments ---------------------------------------------------------------------------------------

    def pack(
        self, codec: ArgumentCodec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, bytes | None, Marks | None]:
        """The arguments' bytes, the keywords' bytes or None, and what to add to the envelope's options.

        Raises `InvalidArguments` or `PayloadTooLarge`.
        """
        if self._custom is not None:
            packed, named = self._custom.encode(codec, args, kwargs)
            return self._finished(codec, packed, named, {SERIALIZER: self._custom.name})
        packed, named = codec.encode(args, kwargs)
        if len(packed) + (0 if named is None else len(named)) > self._unremarkable:
            return self._finished(codec, packed, named, None)
        return packed, named, None

    def pack_many(
        self, codec: ArgumentCodec, calls: Sequence[tuple[Any, ...]]
    ) -> list[tuple[bytes, Marks | None]]:
        """`pack` for many calls with positional arguments only."""
        if self._custom is not None:
            return [(packed, marks) for packed, _, marks in (self.pack(codec, args, {}) for args in calls)]
        limit = self._unremarkable
        return [
            (packed, None) if len(packed) <= limit else self._finished(codec, packed, None, None)[::2]
            for packed in codec.encode_many(calls)
        ]

    def unpack(
        self, codec: ArgumentCodec, args: Bytes, kwargs: Bytes | None, options: Mapping[str, Any] | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a job, `options` being its envelope's.

        Raises `PayloadCorrupt`, `PayloadTooLarge`, or `InvalidArguments` if the task no longer fits.
        """
        if options is None or (SERIALIZER not in options and COMPRESSED not in options):
            return codec.decode(args, kwargs)
        args, kwargs = self._inflated(codec, args, kwargs, options)
        if SERIALIZER in options:
            return self._serializer(codec, options[SERIALIZER]).decode(codec, args, kwargs)
        return codec.decode(args, kwargs)

    def peek(
        self, args: Bytes, kwargs: Bytes | None, options: Mapping[str, Any] | None
    ) -> tuple[list[Any], dict[str, Any]] | None:
        """The arguments as plain data, for people to look at: no class is rebuilt and nothing is unpickled.

        None if they cannot be shown that way.
        """
        options = options or {}
        try:
            if SERIALIZER in options:
                return None
            args, kwargs = self._inflated(None, args, kwargs, options)
            found, named = plain.unpack(args), {} if kwargs is None else plain.unpack(kwargs)
        except (msgspec.MsgspecError, PayloadCorrupt, PayloadTooLarge, RecursionError, ValueError, TypeError):
            return None
        return (found, named or {}) if isinstance(found, list) and isinstance(named, dict | None) else None

    def _finished(
        self, codec: ArgumentCodec, packed: bytes, named: bytes | None, marks: Marks | None
    ) -> tuple[bytes, bytes | None, Marks | None]:
        size = len(packed) + (0 if named is None else len(named))
        self._check(size, f"the arguments of {codec.name}")
        if self.limits.compress_over and size > self.limits.compress_over:
            both = _pack((msgspec.Raw(packed), _NIL if named is None else msgspec.Raw(named)))
            small = _pack(compress(both))
            if len(small) < size:
                return small, None, {**(marks or {}), COMPRESSED: 1}
        return packed, named, marks

    def _inflated(
        self, codec: ArgumentCodec | None, args: Bytes, kwargs: Bytes | None, options: Mapping[str, Any]
    ) -> tuple[Bytes, Bytes | None]:
        if not options.get(COMPRESSED):
            return args, kwargs
        name = codec.name if codec else "unknown"
        try:
            data: bytes = _bin(args)
            # The array around both parts is of a few bytes more than what was measured against the limit.
            found: tuple[msgspec.Raw, msgspec.Raw] = _pair(decompress(data, self._most + 16))
        except msgspec.MsgspecError:
            raise PayloadCorrupt(f"the compressed arguments of a job of task {name!r} are damaged") from None
        return found

    # -- results -----------------------------------------------------------------------------------------

    def pack_result(self, codec: ArgumentCodec, value: Any) -> tuple[bytes, Marks | None]:
        """A result's bytes, and the marks to keep with them. Raises `InvalidArguments`, `PayloadTooLarge`."""
        marks: Marks | None = None
        if self._custom is None:
            data = codec.encode_result(value)
        else:
            data, marks = self._custom.encode_result(codec, value), {SERIALIZER: self._custom.name}
        if len(data) > self._unremarkable:
            self._check(len(data), f"the result of {codec.name}")
            if len(small := compress(data)) < len(data):
                return small, {**(marks or {}), COMPRESSED: 1}
        return data, marks

    def unpack_result(self, codec: ArgumentCodec, data: bytes | None, marks: Mapping[str, Any] | None) -> Any:
        """The result that `pack_result` wrote. Raises `PayloadCorrupt` or `PayloadTooLarge`."""
        if data is None:
            return None
        if not marks:
            return codec.decode_result(data)
        if marks.get(COMPRESSED):
            data = decompress(data, self._most)
        if SERIALIZER in marks:
            return self._serializer(codec, marks[SERIALIZER]).decode_result(codec, data)
        return codec.decode_result(data)

    def _serializer(self, codec: ArgumentCodec, name: object) -> Serializer:
        if self._custom is not None and self._custom.name == name:
            return self._custom
        # Anyone who can write to Redis can set the mark, so this fails the job and not the worker.
        advice = (
            "set pickle_key here as its producer has it"
            if name == "pickle"
            else "use the serializer that its producer has"
        )
        raise PayloadCorrupt(
            f"a payload of task {codec.name!r} was written by the serializer {str(name)[:40]!r}, which this "
            f"app has not opted in to; it was not read. If it is yours, {advice}"
        )

    def _check(self, size: int, what: str) -> None:
        if size > self._most:
            raise PayloadTooLarge(
                f"{what}: {size:,} bytes, where {self._most:,} are allowed (max_payload). Store the data "
                "elsewhere (a file, a bucket, a table) and pass a reference to it, or raise max_payload"
            )
