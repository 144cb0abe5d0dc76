"""The encoder of arguments and results, and decoders that know a type: msgpack with our hooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import msgspec

from ferryman import plain
from ferryman.plain import Key, Untravellable

Bytes = bytes | msgspec.Raw
Decode = Callable[[Bytes], Any]

MASK = b"**********"
"""What pydantic writes in place of a secret."""


def decoder(wire: Any) -> Decode:
    """A function that reads values of this type. It raises `msgspec.MsgspecError` or `PayloadCorrupt`."""
    return msgspec.msgpack.Decoder(wire, dec_hook=_rebuilt, ext_hook=plain.from_ext).decode


def is_hooked(cls: Any) -> bool:
    """Whether the hooks here carry this class, which msgspec does not know."""
    return plain.is_model(cls) or (isinstance(cls, type) and issubclass(cls, PurePath))


def _written(value: Any) -> Any:
    if type(value) is Key:
        return value.ext
    if isinstance(value, PurePath):
        return str(value)
    for base, write in _EXACT:
        if isinstance(value, base):
            return write(value)
    if plain.is_model(type(value)):
        return _model_written(value)
    raise Untravellable(plain.foreign(value))


# Text of a template engine, numbers with units: where the annotation says str, a str is what arrives.
_EXACT: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
)

pack: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_written).encode


def _model_written(value: Any) -> Any:
    """The model as plain data, in pydantic's JSON form, which its own reader accepts in strict mode too."""
    text = value.model_dump_json(by_alias=True, round_trip=True).encode()
    data = msgspec.json.decode(text)
    if MASK in text and _model_rebuilt(type(value), data) != value:
        raise Untravellable(
            f"a secret in {type(value).__name__} would arrive as asterisks, by which pydantic "
            "masks SecretStr and SecretBytes; let the worker fetch the secret, or give the field a serializer"
        )
    return data


def _rebuilt(cls: Any, data: Any) -> Any:
    if plain.is_model(cls):
        return _model_rebuilt(cls, data)
    if isinstance(cls, type) and issubclass(cls, PurePath):
        if isinstance(data, str):
            return cls(data)
        if isinstance(data, PurePath):  # from a producer that did not know the annotation
            return cls(data)
    raise ValueError(f"Expected `{getattr(cls, '__name__', cls)}`, got `{type(data).__name__}`")


def _model_rebuilt(cls: Any, data: Any) -> Any:
    try:
        return cls.model_validate_json(msgspec.json.encode(data))
    except ValueError as error:
        details = getattr(error, "errors", None)
        if details is None:
            raise
        # Pydantic's own text repeats the input, which may be a secret.
        problems = details(include_url=False, include_input=False, include_context=False)
        told = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or cls.__name__}: {problem['msg']}" for problem in problems
        )
        raise ValueError(told) from None
