"""Rows under headings, and what becomes of them where they do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

_PROSE = 24
"""Characters that a column of prose needs at least: in fewer, every word is a line."""


class Listing:
    """A table; on a terminal that is too narrow for it one without lines, or else a paragraph for each row.

    Nothing is ever cut: half an id cannot be copied, and half a heading cannot be read.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Text]],
        right: Sequence[str],
        wraps: Sequence[str],
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._right = right
        self._wraps = wraps

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> Iterator[Table | Text | Padding]:
        unlimited = options.update(max_width=10_000)
        for ruled in (True, False) if out.is_terminal else (False,):
            table = self._table(ruled)
            if not out.is_terminal or table.__rich_measure__(out, unlimited).minimum <= options.max_width:
                yield table
                return
        for number, row in enumerate(self._rows):
            yield from self._paragraph(row, options.max_width, first=not number)

    def _table(self, ruled: bool) -> Table:
        from rich import box
        from rich.table import Table

        made = Table(box=box.SIMPLE_HEAD if ruled else None, pad_edge=False, header_style="bold")
        for place, name in enumerate(self._columns):
            widest = max((row[place].cell_len for row in self._rows), default=0)
            made.add_column(
                name,
                justify="right" if name in self._right else "left",
                no_wrap=name not in self._wraps,
                min_width=min(widest, _PROSE) if name in self._wraps else None,
                overflow="fold",
            )
        for row in self._rows:
            made.add_row(*row)
        return made

    def _paragraph(self, row: Sequence[Text], width: int, *, first: bool) -> Iterator[Text | Padding]:
        """``name value`` pairs, broken between pairs; prose on lines of its own."""
        from rich.padding import Padding
        from rich.text import Text

        if not first:
            yield Text("")
        line, prose = Text(), []
        for name, value in zip(self._columns, row, strict=True):
            pair = Text.assemble((f"{name} ", "bold"), value)
            if name in self._wraps:
                prose.append(pair)
            elif value.plain == "-":
                continue
            elif line and line.cell_len + 3 + pair.cell_len > width:
                yield line
                line = Text("  ") + pair
            else:
                line = line + Text("   ") + pair if line else pair
        yield line
        for pair in prose:
            if not pair.plain.endswith(" -"):
                pair.overflow = "fold"
                yield Padding(pair, (0, 0, 0, 2))
