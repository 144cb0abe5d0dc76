"""What a failed attempt leaves for people: the error in one line, the traceback, and a fingerprint that is
equal for failures with one cause."""

from __future__ import annotations

import functools
import hashlib
import sysconfig
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple

MOST_ERROR = 1_000
MOST_TRACEBACK = 16_000


class Report(NamedTuple):
    """One failure, described."""

    error: str
    traceback: str
    fingerprint: str


def describe(error: BaseException, task: str, kind: str = "failed") -> Report:
    """Describe an error that ended an attempt of `task`. Never raises, whatever the error itself does."""
    trace = _without_ours(error.__traceback__)
    return Report(
        _line(error), _cut(_formatted(error, trace), MOST_TRACEBACK), _fingerprint(error, trace, task, kind)
    )


def lost(task: str, worker: str, times: int) -> Report:
    """The failure of a job under which too many workers were lost."""
    what = f"{times} workers were lost while they ran this job, the last one was {worker}"
    text = f"ferryman.errors.WorkerLost: {what}"
    return Report(text, "", _digest(task, "WorkerLost", ""))


def type_name(error: BaseException) -> str:
    """``package.module.Name`` of an error's class, without ``builtins``."""
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (a user's __str__ may raise anything)
        text = "<its text cannot be made>"
    return f"{type_name(error)}: {text}"[:MOST_ERROR] if text else type_name(error)


def _formatted(error: BaseException, trace: TracebackType | None) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception:  # noqa: BLE001 (formatting calls the user's __str__ and __repr__)
        return _line(error)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = (most - 40) // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from where the user's code begins; as it is when there is none of the user's."""
    found = trace
    while found is not None and _origin(found.tb_frame.f_code.co_filename) == "ferryman":
        found = found.tb_next
    return found or trace


def _fingerprint(error: BaseException, trace: TracebackType | None, task: str, kind: str) -> str:
    if kind == "timeout":  # where it stood when its time was over is chance
        return _digest(task, "timeout", "")
    frame: FrameType | None = None
    innermost: FrameType | None = None
    while trace is not None:
        frame = trace.tb_frame
        if _origin(frame.f_code.co_filename) == "user":
            innermost = frame
        trace = trace.tb_next
    place = ""
    if chosen := innermost or frame:
        code = chosen.f_code
        place = f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_qualname}"
    return _digest(task, type_name(error), place)


def _digest(*parts: str) -> str:
    return hashlib.sha1("\0".join(parts).encode(errors="replace"), usedforsecurity=False).hexdigest()[:16]


@functools.lru_cache(maxsize=1000)
def _origin(filename: str) -> str:
    """Whose code a file is: ``user``, ``ferryman`` or ``library``."""
    if filename.startswith("<"):
        return "library"
    for origin, folder in _folders():
        if filename.startswith(folder):
            return origin
    return "user"


@functools.cache
def _folders() -> list[tuple[str, str]]:
    here = Path(__file__).parent
    rooms = [here, *(here.parent / room for room in ("worker", "scheduler") if (here / room).is_symlink())]
    found = [("ferryman", f"{room}/") for room in rooms]
    names = ("purelib", "platlib", "stdlib", "platstdlib")
    return found + [("library", f"{sysconfig.get_path(name)}/") for name in names]
