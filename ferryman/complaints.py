"""Why a value does not fit its parameter, told without the value: it may be a secret."""

from __future__ import annotations

from typing import Any

import msgspec

from ferryman import plain
from ferryman.annotations import Kind
from ferryman.plain import Untravellable
from ferryman.wire import Decode, pack

MISFITS = (Untravellable, msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
"""Raised for a value that does not fit; a user's validator raises ValueError or TypeError."""


def reason_of(kind: Kind, read: Decode, value: Any) -> str | None:
    """Why `value` does not go there and back, after the path to it within the parameter. None if it does."""
    try:
        read(pack(value if kind.prepare is None else kind.prepare(value)))
    except msgspec.ValidationError as error:
        return _told(str(error))
    except Untravellable as error:
        where, why = (None if kind.is_typed else plain.complaint(value)) or ("", str(error))
        return f"{where}: {why}"
    except MISFITS as error:
        # Within classes only msgspec looked; plain data is searched for the place.
        found = None if kind.is_typed and plain.is_rebuildable(type(value)) else plain.complaint(value)
        where, why = found or ("", _unsaid(error))
        return f"{where}: {why}"
    return None


def _told(text: str) -> str:
    """msgspec's text with its path in front, without the values that some of its texts repeat."""
    problem, _, path = text.partition(" - at `")
    if problem.startswith("Invalid enum value"):
        problem = "this is none of the allowed values"
    elif problem.startswith("Invalid value"):
        problem = "this tag belongs to none of the allowed types"
    elif problem.startswith("Expected"):
        problem = "expected" + problem[len("Expected") :].replace("`", "")
    return f"{path.rstrip('`').removeprefix('key in ').removeprefix('$')}: {problem}"


def _unsaid(error: Exception) -> str:
    """What msgspec's other errors mean; their own texts may repeat values."""
    if isinstance(error, OverflowError):
        return "an integer beyond 64 bits does not travel; pass it as str"
    if isinstance(error, UnicodeEncodeError):
        return "a str with lone surrogates is no text; pass bytes"
    if isinstance(error, RecursionError):
        return "it is nested too deep, or contains itself"
    return f"it cannot be written ({type(error).__name__})"
