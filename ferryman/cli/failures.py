"""``ferryman failures``: the dead letters, grouped by what caused them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import typer

from ferryman.app import Ferryman
from ferryman.cli.display import moment, print_json, shortened, show, table, text
from ferryman.cli.parameters import AsJson, Limit, Module, Prefix, Url
from ferryman.cli.shapes import known_queue
from ferryman.errors import JobNotFound
from ferryman.job import JobInfo
from ferryman.location import find_app

LOOKED_AT = 1000
"""Dead letters of a queue that are looked at, the newest."""


@dataclass
class FailureGroup:
    """Dead letters with one cause."""

    fingerprint: str
    queue: str
    task: str
    error: str
    """Of the newest."""
    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    jobs: list[str] = field(default_factory=list)
    """Ids, newest first, at most 100."""

    def add(self, info: JobInfo) -> None:
        """Count one more dead letter, older than those before."""
        self.count += 1
        self.last_at = self.last_at or info.finished_at
        self.first_at = info.finished_at
        if len(self.jobs) < 100:
            self.jobs.append(info.id)


def command(
    module: Module = None,
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", help="Only of this queue.", show_default=False)
    ] = None,
    limit: Limit = 20,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """The dead letters, grouped by cause: task, exception, and the line of your code that raised it.

    Looks at the newest 1,000 of each queue. Example: [bold]ferryman failures --queue mail[/bold]
    """
    app = find_app(module, url=url, prefix=prefix)
    names = [known_queue(app, queue)] if queue else [found.name for found in app.queues()]
    groups = [group for name in names for group in groups_of(app, name)]
    groups.sort(key=lambda group: (-group.count, group.fingerprint))
    if as_json:
        print_json([_shape(group) for group in groups[:limit]])
    elif not groups:
        show("No dead letters.")
    else:
        columns = ["dead", "queue", "task", "error", "first", "last", "for example"]
        show(table(columns, map(_row, groups[:limit]), right=["dead"], wraps=["error"]))
        show(
            text(""),
            text("ferryman job ID shows one with its traceback; ferryman job ID --retry tries again."),
        )
        _say_what_was_not_looked_at(app, names)


def groups_of(app: Ferryman, queue: str, most: int = LOOKED_AT) -> list[FailureGroup]:
    """The causes of a queue's newest dead letters."""
    keys = app.store.keys(queue)
    newest: Any = app.store.pool.command("ZREVRANGE", keys.dead, 0, most - 1)
    groups: dict[str, FailureGroup] = {}
    for local in newest:
        try:
            info = app.job(f"{local.decode()}@{queue}").info()
        except JobNotFound:  # gone since
            continue
        last = info.attempts[-1] if info.attempts else None
        fingerprint = last.fingerprint if last else ""
        error = last.error if last else "nothing is kept of its attempts"
        group = groups.setdefault(
            f"{info.task}\0{fingerprint}", FailureGroup(fingerprint, queue, info.task, error)
        )
        group.add(info)
    return list(groups.values())


def _row(group: FailureGroup) -> list[object]:
    return [
        group.count, group.queue, group.task, shortened(group.error, 120), moment(group.first_at),
        moment(group.last_at), group.jobs[0],
    ]  # fmt: skip


def _shape(group: FailureGroup) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "queue": group.queue,
        "task": group.task,
        "error": group.error,
        "count": group.count,
        "first_at": group.first_at,
        "last_at": group.last_at,
        "jobs": group.jobs,
    }


def _say_what_was_not_looked_at(app: Ferryman, names: list[str]) -> None:
    for name in names:
        dead = app.queue(name).info().dead
        if dead > LOOKED_AT:
            show(f"{name} has {dead:,} dead letters; the newest {LOOKED_AT:,} were looked at.")
