"""What the reader sees: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ferryman.queue import QueueInfo
from ferryman.worker.notes import Note

_PLAIN_EVERY_S = 2.0


@dataclass
class Moment:
    """How things stand."""

    total: int
    queue: QueueInfo
    per_s: float
    workers: Sequence[Note]

    @property
    def done(self) -> int:
        """Jobs that have succeeded."""
        left = self.queue.queued + self.queue.scheduled + self.queue.running + self.queue.dead
        return max(self.total - left, 0)


class Screen:
    """Use it as a context manager. `say` tells of an event, `show` of how things stand."""

    def __init__(self, *, plain: bool) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._plain = plain or not sys.stdout.isatty()
        self._began = self._shown = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if not self._plain:
            self._live = Live(console=self._console, refresh_per_second=10, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, what: str, style: str = "") -> None:
        """Something happened."""
        after = time.monotonic() - self._began
        line = Text.assemble((f"{after:5.1f} s  ", "dim"), (what, style))
        if self._live is not None:
            self._live.console.print(line)
        else:
            print(line.plain, flush=True)

    def show(self, moment: Moment) -> None:
        """How things stand now."""
        if self._live is not None:
            self._live.update(_panel(moment))
        elif time.monotonic() - self._shown > _PLAIN_EVERY_S:
            self._shown = time.monotonic()
            queue = moment.queue
            self.say(
                f"{moment.done} of {moment.total} done, {moment.per_s:.0f} jobs/s, {queue.queued} queued, "
                f"{queue.running} running, {queue.scheduled} scheduled, {queue.dead} dead"
            )


def _panel(moment: Moment) -> RenderableType:
    queue = moment.queue
    numbers = Table.grid(padding=(0, 3))
    numbers.add_row(
        Text.assemble((f"{moment.per_s:,.0f}", "bold"), " jobs/s"),
        Text(f"{queue.queued:,} queued"),
        Text(f"{queue.running:,} in workers' hands"),
        Text(f"{queue.scheduled:,} scheduled"),
        Text(f"{queue.dead:,} dead", style="red" if queue.dead else ""),
    )
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(moment.total, 1), completed=moment.done, width=50),
        Text(f"{moment.done:,} of {moment.total:,} done"),
    )
    return Group(Text(""), bar, numbers, _workers(moment.workers))


def _workers(notes: Sequence[Note]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("process", "state", "done", "failed", "at work on"):
        table.add_column(name, justify="right" if name in ("done", "failed") else "left")
    for note in notes:
        doing = ", ".join(
            f"{one.job.partition('@')[0][-6:]} {one.since_s * 1000:.0f} ms" for one in note.doing
        )
        table.add_row(str(note.pid), note.state, f"{note.done:,}", f"{note.failed:,}", Text(doing or "-"))
    return table
