"""What is done to an annotated value before msgspec writes it, so that it comes back as what it was.

msgspec writes most types right by itself. Not so: aware datetimes (it keeps no offset), untyped places inside
typed ones, and instances of a class other than the annotated one, which would come back cut down.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, get_origin

import msgspec
from msgspec import inspect as shapes

from ferryman import plain
from ferryman.plain import Key, Untravellable, to_plain

Prepare = Callable[[Any], Any]
"""Gives what msgspec shall write for a value. Raises `Untravellable`."""


def children(shape: shapes.Type) -> Iterable[shapes.Type]:
    """The types that a type is made of."""
    if isinstance(shape, shapes.UnionType):
        return shape.types
    if isinstance(shape, shapes.DictType):
        return shape.key_type, shape.value_type
    if isinstance(shape, shapes.TupleType):
        return shape.item_types
    if isinstance(shape, shapes.CollectionType):
        return (shape.item_type,)
    return [field.type for field in getattr(shape, "fields", ())]


class Preparers:
    """Makes the `Prepare` of a type, following it into containers and classes; a class may contain itself."""

    def __init__(self) -> None:
        self._classes: dict[Any, Prepare] = {}

    def of(self, shape: shapes.Type) -> Prepare | None:
        if isinstance(shape, shapes.AnyType):
            return to_plain
        if isinstance(shape, shapes.DateTimeType):
            return _with_offset
        if isinstance(shape, shapes.UnionType):
            return self._union(shape)
        if isinstance(shape, shapes.DictType):
            return self._dict(shape)
        if isinstance(shape, shapes.TupleType):
            return self._tuple([self.of(item) for item in shape.item_types])
        if isinstance(shape, shapes.CollectionType):
            return _each(self.of(shape.item_type))
        if isinstance(shape, shapes.TypedDictType):
            return _mapping({field.name: self.of(field.type) for field in shape.fields})
        if isinstance(shape, shapes.NamedTupleType):
            return self._tuple([self.of(field.type) for field in shape.fields])
        if isinstance(shape, (shapes.DataclassType, shapes.StructType)):
            return self._class(shape)
        return (
            _instance_of(shape.cls)
            if isinstance(shape, shapes.CustomType) and plain.is_model(shape.cls)
            else None
        )

    def _dict(self, shape: shapes.DictType) -> Prepare | None:
        on_key, on_value = self.of(shape.key_type), self.of(shape.value_type)
        if on_key is None and on_value is None:
            return None
        write_key, write_value = on_key or _as_is, on_value or _as_is

        def prepare(value: Any) -> Any:
            if not isinstance(value, Mapping):
                return value
            return {_hashable(write_key(key)): write_value(item) for key, item in value.items()}

        return prepare

    def _tuple(self, items: list[Prepare | None]) -> Prepare | None:
        if not any(items):
            return None

        def prepare(value: Any) -> Any:
            if not isinstance(value, (tuple, list)):
                return value
            found = [item if step is None else step(item) for item, step in zip(value, items, strict=False)]
            return found + list(value[len(items) :])

        return prepare

    def _union(self, shape: shapes.UnionType) -> Prepare | None:
        steps = [(_looks_like(child), step) for child in shape.types if (step := self.of(child)) is not None]
        if not steps:
            return None
        others = tuple(cls for child in shape.types if isinstance(cls := getattr(child, "cls", None), type))

        def prepare(value: Any) -> Any:
            if type(value) in plain.ATOMS:
                return value
            for kinds, step in steps:
                if isinstance(value, kinds):
                    return step(value)
            if plain.is_rebuildable(type(value)) and not isinstance(value, (*others, Enum)):
                raise Untravellable(f"a {type(value).__name__} is none of what is expected")
            return value

        return prepare

    def _class(self, shape: shapes.DataclassType | shapes.StructType) -> Prepare:
        if shape.cls in self._classes:
            return self._classes[shape.cls]
        cls: Any = get_origin(shape.cls) or shape.cls
        steps: dict[str, Prepare] = {}
        exact = _instance_of(cls)

        def prepare(value: Any) -> Any:
            if type(value) is cls:
                return _replaced(value, steps)
            return on_mapping(exact(value))

        self._classes[shape.cls] = (
            prepare  # before its fields are looked at: one of them may be of this class
        )
        steps.update(
            {field.name: step for field in shape.fields if (step := self.of(field.type)) is not None}
        )
        on_mapping = _mapping({field.encode_name: steps.get(field.name) for field in shape.fields}) or _as_is
        return prepare


def _as_is(value: Any) -> Any:
    return value


def _hashable(key: Any) -> Any:
    return Key(key) if type(key) is msgspec.msgpack.Ext else tuple(key) if type(key) is list else key


def _with_offset(value: Any) -> Any:
    """msgspec writes an aware datetime in UTC; as text it keeps its offset."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        offset = value.utcoffset()
        if offset is not None and offset and not offset.total_seconds() % 60:
            return value.isoformat()
    return value


def _each(step: Prepare | None) -> Prepare | None:
    if step is None:
        return None
    of_one = step

    def prepare(value: Any) -> Any:
        if of_one is to_plain and type(value) is list and plain.ATOMS.issuperset(map(type, value)):
            return value
        return [of_one(item) for item in value] if isinstance(value, (list, tuple, set, frozenset)) else value

    return prepare


def _mapping(steps: Mapping[str, Prepare | None]) -> Prepare | None:
    wanted = {name: step for name, step in steps.items() if step is not None}
    if not wanted:
        return None

    def prepare(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {key: wanted[key](item) if key in wanted else item for key, item in value.items()}

    return prepare


def _replaced(value: Any, steps: Mapping[str, Prepare]) -> Any:
    """`value`, or a copy with prepared fields; not by its constructor, which may have opinions."""
    changes = {}
    for name, step in steps.items():
        old = getattr(value, name, msgspec.UNSET)
        if old is not msgspec.UNSET and (new := step(old)) is not old:
            changes[name] = new
    if not changes:
        return value
    twin = copy.copy(value)
    put = msgspec.structs.force_setattr if isinstance(twin, msgspec.Struct) else object.__setattr__
    for name, new in changes.items():
        put(twin, name, new)
    return twin


def _instance_of(cls: Any) -> Prepare:
    """Refuses instances of other classes, a subclass's too: they would come back cut down to `cls`."""

    def prepare(value: Any) -> Any:
        kind = type(value)
        if kind is cls or not (plain.is_rebuildable(kind) or isinstance(value, cls)):
            return value
        if isinstance(value, cls):
            raise Untravellable(f"a {kind.__name__} would come back as its base {cls.__name__}; annotate it")
        raise Untravellable(f"expected {cls.__name__}, got {kind.__name__}")

    return prepare


def _looks_like(shape: shapes.Type) -> type | tuple[type, ...]:
    """The classes of values that a member of a union is meant for."""
    if isinstance(shape, shapes.AnyType):
        return object
    if isinstance(shape, shapes.DateTimeType):
        return datetime
    if isinstance(shape, (shapes.DictType, shapes.TypedDictType)):
        return dict
    cls = getattr(shape, "cls", None)
    if cls is None:
        return (list, tuple, set, frozenset)
    found: type = get_origin(cls) or cls
    return found
