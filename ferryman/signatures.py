"""A callable's parameters and annotations as they are at run time, and its signature as people read it."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature
from types import SimpleNamespace
from typing import Any

from ferryman.annotations import shown

_ANYTHING = Signature(
    [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
)


@dataclass(frozen=True, slots=True)
class Described:
    """A callable's signature with its annotations resolved, each for itself."""

    signature: Signature
    hints: dict[str, Any]
    """By parameter, ``return`` included. Without an entry: not annotated, or unresolved."""
    unresolved: dict[str, str]
    """Annotations that name something which does not exist at run time (imports under ``TYPE_CHECKING``)."""


def read(fn: Callable[..., Any]) -> Described:
    """The signature of any callable. One that has none (some builtins) takes anything."""
    signature = _signature(fn)
    annotated = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    annotated["return"] = signature.return_annotation
    hints: dict[str, Any] = {}
    unresolved: dict[str, str] = {}
    namespace, local = _namespaces(fn)
    for name, annotation in annotated.items():
        if annotation is Parameter.empty:
            continue
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            hints[name] = typing.get_type_hints(holder, namespace, local, include_extras=True)[name]
        except Exception:  # noqa: BLE001 - the annotation is the user's code, and may raise anything
            unresolved[name] = shown(annotation)
    return Described(signature, hints, unresolved)


def _signature(fn: Callable[..., Any]) -> Signature:
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            return inspect.signature(fn, annotation_format=annotationlib.Format.FORWARDREF)
        return inspect.signature(fn)
    except (ValueError, TypeError):
        return _ANYTHING


def _namespaces(fn: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Where the names in annotations are looked up: the function's module, and what its closure holds."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    fn = inspect.unwrap(fn)
    if not hasattr(fn, "__code__") and not hasattr(fn, "__func__"):
        fn = getattr(type(fn), "__call__", fn)  # noqa: B004 - the method itself is wanted
    fn = getattr(fn, "__func__", fn)
    code = getattr(fn, "__code__", None)
    local: dict[str, Any] = {}
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(fn, "__closure__", None) or (), strict=False
    ):
        try:
            local[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return getattr(fn, "__globals__", {}), local


def text(name: str, signature: Signature) -> str:
    """``shop.mail:send_welcome(user_id: int) -> str``."""
    parts: list[str] = []
    last = None
    for parameter in signature.parameters.values():
        if last is Parameter.POSITIONAL_ONLY and parameter.kind is not last:
            parts.append("/")
        if parameter.kind is Parameter.KEYWORD_ONLY and last not in (
            Parameter.KEYWORD_ONLY,
            Parameter.VAR_POSITIONAL,
        ):
            parts.append("*")
        parts.append(_parameter(parameter))
        last = parameter.kind
    if last is Parameter.POSITIONAL_ONLY:
        parts.append("/")
    returned = signature.return_annotation
    arrow = "" if returned is Signature.empty else f" -> {shown(returned)}"
    return f"{name}({', '.join(parts)}){arrow}"


def _parameter(parameter: Parameter) -> str:
    stars = "*" if parameter.kind is Parameter.VAR_POSITIONAL else ""
    stars = "**" if parameter.kind is Parameter.VAR_KEYWORD else stars
    found = f"{stars}{parameter.name}"
    if parameter.annotation is not Parameter.empty:
        found += f": {shown(parameter.annotation)}"
    if parameter.default is not Parameter.empty:
        equals = " = " if parameter.annotation is not Parameter.empty else "="
        found += f"{equals}{_default(parameter.default)}"
    return found


def _default(value: Any) -> str:
    text = repr(value) if value is None or type(value) in (bool, int, float, str) else ""
    return text if 0 < len(text) <= 20 else "..."
