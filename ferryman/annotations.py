"""An annotation on the wire: the type msgspec reads, what is done to a value first, or why none travels."""

from __future__ import annotations

import collections.abc
import re
import types
import typing
from dataclasses import dataclass
from enum import Enum
from inspect import Parameter
from typing import Any, ForwardRef, Union, get_args, get_origin

from msgspec import inspect as shapes

from ferryman import plain
from ferryman.plain import Untravellable, to_plain
from ferryman.preparation import Prepare, Preparers, children
from ferryman.wire import decoder, is_hooked


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one annotation travel."""

    wire: Any
    """The type that msgspec decodes."""
    prepare: Prepare | None = None
    """None where msgspec writes every value right by itself."""
    is_typed: bool = True
    refusal: str | None = None
    """Why no value of this annotation can travel."""


UNTYPED = Kind(Any, to_plain, is_typed=False)


def kind_of(hint: Any) -> Kind:
    """How values with this annotation travel. Never raises: one that cannot work has a `refusal`."""
    try:
        wire, check = _readable(hint)
        if wire is Any:
            return UNTYPED if check is None else Kind(Any, check)
        if _is_unresolved(wire):
            return UNTYPED
        shape = shapes.type_info(wire)
        decoder(wire)  # refuses some types that have a shape
        if stranger := _stranger(shape):
            return _refused(_no_plain_data(stranger))
        return Kind(wire, Preparers().of(shape))
    except Untravellable as error:
        return _refused(str(error))
    except RecursionError:
        return UNTYPED
    except (
        TypeError,
        ValueError,
        NameError,
        AttributeError,
    ) as error:  # as msgspec reports types that it cannot read
        return _refused(f"{shown(hint)} cannot be rebuilt: {error}")


def _refused(why: str) -> Kind:
    def refuse(_value: Any) -> Any:
        raise Untravellable(why)

    return Kind(Any, refuse, refusal=why)


def _no_plain_data(cls: Any) -> str:
    return (
        f"{shown(cls)} is no plain data. What can travel instead: what the worker finds or makes it from (an "
        "id, a URL, a path), or a dataclass, msgspec.Struct, NamedTuple, TypedDict, Enum of str or int, or "
        "pydantic model"
    )


def shown(hint: Any) -> str:
    """An annotation as people write it."""
    if isinstance(hint, str):
        return hint
    if isinstance(hint, ForwardRef):
        return hint.__forward_arg__
    if hint is None or hint is types.NoneType:
        return "None"
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    text = str(hint).replace("NoneType", "None")
    return text if "'" in text else re.sub(r"[\w.]*<locals>\.|\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", text)


# -- what msgspec can read ------------------------------------------------------------------------------

_ANYTHING = (object, Parameter.empty, collections.abc.Hashable)
_AS_LIST = (
    collections.abc.Iterable,
    collections.abc.Collection,
    collections.abc.Container,
    collections.abc.Reversible,
)


def _readable(hint: Any) -> tuple[Any, Prepare | None]:
    """The nearest type that msgspec reads, or `Any`; for a union of plain types also a check in its place."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in _ANYTHING or origin in _ANYTHING:
        return Any, None
    if hint is typing.LiteralString:
        return str, None
    if hint in _AS_LIST:
        return list, None
    if origin in _AS_LIST:
        return _subscripted(list, (_readable(parts[0])[0],)), None
    if type(hint).__name__ == "TypeAliasType":
        return _readable(hint.__value__)
    if isinstance(hint, typing.NewType):
        return _readable(hint.__supertype__)
    if origin is typing.Annotated:
        inner, check = _readable(parts[0])
        return (
            hint if inner is parts[0] else _subscripted(typing.Annotated, (inner, *hint.__metadata__))
        ), check
    if origin is typing.Literal and any(isinstance(part, Enum) for part in parts):
        return _union([type(part) if isinstance(part, Enum) else typing.Literal[part] for part in parts])
    if origin in (Union, types.UnionType):
        return _union([_readable(part)[0] for part in parts], hint)
    if _is_container(origin) and parts:
        read = tuple(part if part is ... else _readable(part)[0] for part in parts)
        changed = any(new is not old for new, old in zip(read, parts, strict=True))
        return (_subscripted(origin, read) if changed else hint), None
    return hint, None


def _subscripted(origin: Any, parts: tuple[Any, ...]) -> Any:
    return origin[parts]


def _is_container(origin: Any) -> bool:
    return (
        isinstance(origin, type)
        and issubclass(origin, (collections.abc.Collection, tuple))
        and (origin.__module__ in ("builtins", "collections.abc"))
    )


def _union(parts: list[Any], hint: Any = None) -> tuple[Any, Prepare | None]:
    """The union of these if msgspec reads it, `Any` if all are plain data. Raises `Untravellable`."""
    if any(part is Any or _is_unresolved(part) for part in parts):
        return Any, None
    union = _subscripted(Union, tuple(parts))
    try:
        shapes.type_info(union)
    except TypeError:
        kinds = tuple(get_origin(part) or (types.NoneType if part is None else part) for part in parts)
        if stranger := next((kind for kind in kinds if kind not in plain.PLAIN_TYPES), None):
            raise Untravellable(
                f"{shown(hint or union)} cannot be told apart on the wire: {shown(stranger)} stands in a "
                "union with types that look alike there; use a union of tagged msgspec.Structs, or one type"
            ) from None
        return Any, _one_of(kinds, shown(hint or union))
    return union, None


def _one_of(kinds: tuple[type, ...], text: str) -> Prepare:
    def prepare(value: Any) -> Any:
        if not isinstance(value, kinds) and not (float in kinds and type(value) is int):
            raise Untravellable(f"expected {text}, got {type(value).__qualname__}")
        return to_plain(value)

    return prepare


def _is_unresolved(hint: Any) -> bool:
    if isinstance(hint, (str, ForwardRef)):
        return True
    origin, parts = get_origin(hint), get_args(hint)
    if origin is typing.Literal:
        return False
    return any(_is_unresolved(part) for part in (parts[:1] if origin is typing.Annotated else parts))


def _stranger(shape: shapes.Type, seen: set[int] | None = None) -> Any:
    """A class within that neither msgspec nor the hooks below can rebuild."""
    seen = set() if seen is None else seen
    if id(shape) in seen:
        return None
    seen.add(id(shape))
    if isinstance(shape, shapes.CustomType):
        return None if is_hooked(shape.cls) else shape.cls
    return next((found for child in children(shape) if (found := _stranger(child, seen)) is not None), None)
