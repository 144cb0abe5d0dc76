"""How commands show things: tables for people, JSON for programs, one line on stderr for what went wrong.

Whatever comes out of Redis may have been written by anybody: it is shown as `rich.text.Text`, which knows no
markup, with its control characters made visible.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ferryman.cli.listing import Listing
from ferryman.log import colour_wanted, visible, without_secrets

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_WIDE = 10_000  # columns of a pipe: nothing is cut or wrapped for programs


def console(*, stderr: bool = False) -> Console:
    """A console that colours only a terminal and takes no markup."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=not colour_wanted(),
        color_system="auto" if terminal and colour_wanted() else None,
        force_terminal=terminal,
        width=shutil.get_terminal_size().columns if terminal else _WIDE,
        soft_wrap=False,
    )


def text(value: object, style: str = "") -> Text:
    """A value on one line, safe to show."""
    from rich.text import Text

    return Text(visible(without_secrets(str(value))), style=style)


def block(value: str, style: str = "") -> Text:
    """A value of several lines, safe to show."""
    from rich.text import Text

    return Text(visible(without_secrets(value), lines=True), style=style)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    wraps: Sequence[str] = (),
) -> Listing:
    """A table; the columns in `right` hold numbers, only those in `wraps` may take several lines.

    Cells are values, or `Text` that is styled already.
    """
    from rich.text import Text

    cells = [[cell if isinstance(cell, Text) else text(cell) for cell in row] for row in rows]
    return Listing(columns, cells, right, wraps)


def show(*things: object) -> None:
    """Print tables, texts and plain strings on stdout."""
    out = console()
    with out.capture() as written:
        for thing in things:
            out.print(text(thing) if isinstance(thing, str) else thing)
    lines = written.get().splitlines()
    sys.stdout.write("".join(f"{line if out.is_terminal else line.rstrip()}\n" for line in lines))
    sys.stdout.flush()


def stderr_line(message: str) -> None:
    """One line about what went wrong."""
    sys.stdout.flush()
    line = " ".join(visible(without_secrets(message), lines=True).split())
    sys.stderr.write(f"ferryman: {line}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """One JSON document on stdout. Times are ISO 8601 in UTC, bytes base64; what has no JSON form is text."""
    raw = msgspec.json.encode(_plain(value))
    sys.stdout.write(msgspec.json.format(raw, indent=2).decode() + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name if isinstance(name, str) else str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return str(value)
    return value


def moment(value: datetime | None) -> str:
    """A time for people: the day only if it is not today, with the zone of the reader."""
    if value is None:
        return "-"
    local = value.astimezone()
    today = local.date() == datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """A length of time for people: ``340 ms``, ``12 s``, ``3 min``, ``2 h 5 min``, ``4 d``."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{seconds / 86_400:.0f} d"


def shortened(value: str, most: int) -> str:
    """`value` with at most `most` characters, and a sign where it was cut."""
    return value if len(value) <= most else value[: most - 1] + "…"
