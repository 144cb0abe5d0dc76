"""Logging for the processes that Ferryman starts, and for applications that want the same.

`configure` writes lines for people to a terminal and JSON lines to anything else. `JobFilter` adds to each
record which job it was written in; an application with a logging configuration of its own adds that filter
to its handlers and is otherwise left alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from ferryman import context
from ferryman.errors import ConfigurationError

Format = Literal["auto", "human", "json"]
FORMATS: tuple[Format, ...] = ("auto", "human", "json")
LEVELS = ("debug", "info", "warning", "error", "critical")

_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/]*@", re.IGNORECASE)
_QUERY_SECRET = re.compile(r"([?&](?:password|ssl_password|token|secret)=)[^&\s'\"]+", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\x20-\x7e]")
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class JobFilter(logging.Filter):
    """Gives every record ``job_id``, ``queue``, ``task`` and ``attempt``: of the job that the line was
    written in, else None. Filters nothing out.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        job = context._current.get()
        if job is None:
            record.job_id = record.queue = record.task = record.attempt = None
        else:
            record.job_id = job.id
            record.queue, record.task, record.attempt = job.queue, job.task, job.attempt
        return True


def configure(
    level: str | int = "info",
    format: Format = "auto",  # noqa: A002 (the word that users know)
    *,
    stream: TextIO | None = None,
) -> bool:
    """Log to `stream` (stderr if not given), for people if it is a terminal and as JSON lines otherwise.

    An application that has given the root logger handlers keeps them: then only the level of the logger
    ``ferryman`` is set, and False is returned. Call it after the application's modules are imported. Raises
    `ConfigurationError` for an unknown level or format.
    """
    number = _level(level)
    if format not in FORMATS:
        raise ConfigurationError(f"log format {format!r} must be one of {', '.join(FORMATS)}")
    logging.getLogger("ferryman").setLevel(number)
    root = logging.getLogger()
    if root.handlers:
        return False
    out = sys.stderr if stream is None else stream
    terminal = out.isatty()
    human = format == "human" or (format == "auto" and terminal)
    handler = logging.StreamHandler(out)
    handler.addFilter(JobFilter())
    handler.setFormatter(HumanFormatter(colour=terminal and colour_wanted()) if human else JsonFormatter())
    root.addHandler(handler)
    root.setLevel(number)
    return True


def _level(level: str | int) -> int:
    if isinstance(level, int):
        return level
    name = level.lower()
    if name not in LEVELS:
        raise ConfigurationError(f"log level {level!r} must be one of {', '.join(LEVELS)}")
    return int(getattr(logging, name.upper()))


def colour_wanted() -> bool:
    """Whether the user lets programs colour their lines (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class HumanFormatter(logging.Formatter):
    """``12:30:05.120 WARNING  shop.mail  no answer  [send_welcome, attempt 2, 01K9…@mail]``, local time."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = f"{record.levelname:<8}"
        message = visible(without_secrets(record.getMessage()), lines=True)
        head = f"{clock}.{int(record.msecs):03d} {self._paint(level, record.levelname)}"
        line = f"{head} {record.name}  {message}"
        job_id = getattr(record, "job_id", None)
        if job_id:
            where = f"[{getattr(record, 'task', '')}, attempt {getattr(record, 'attempt', '')}, {job_id}]"
            line += f"  {self._paint(visible(where), 'DEBUG')}"
        trouble = _trouble(self, record)
        return f"{line}\n{visible(trouble, lines=True)}" if trouble else line

    def _paint(self, text: str, level: str) -> str:
        code = _COLOURS.get(level)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, inside a job ``job``,
    ``queue``, ``task`` and ``attempt``, with an exception ``exception``, and whatever ``extra=`` gave.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        if getattr(record, "job_id", None):
            entry["job"] = record.__dict__["job_id"]
            entry.update({name: record.__dict__.get(name) for name in ("queue", "task", "attempt")})
        if trouble := _trouble(self, record):
            entry["exception"] = trouble
        for name, value in extras(record.__dict__).items():
            entry.setdefault(name, without_secrets(value) if isinstance(value, str) else value)
        return json.dumps(entry, default=_as_text, ensure_ascii=False)


def _trouble(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return without_secrets("\n".join(parts))


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message", "asctime", "taskName", "job_id", "queue", "task", "attempt",
}  # fmt: skip


def extras(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What ``extra=`` gave a record, of all its `fields`."""
    return {name: value for name, value in fields.items() if name not in _STANDARD}


def _as_text(value: object) -> str:
    return without_secrets(str(value))


def without_secrets(text: str) -> str:
    """`text` with the passwords of the URLs in it masked."""
    if "://" not in text:
        return text
    return _QUERY_SECRET.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


def visible(text: str, *, lines: bool = False) -> str:
    """`text` that is safe to show on a terminal: control characters, and those that turn the direction of
    writing, are written as escapes. `lines`: line ends and tabs are left as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda match: _escaped(match[0], lines), text)


def _escaped(character: str, lines: bool) -> str:
    if lines and character in "\n\t":
        return character
    if unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029":
        return character
    return character.encode("unicode_escape").decode("ascii")
