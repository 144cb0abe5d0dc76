"""``ferryman jobs``: the jobs of a queue or of all, by state."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

import typer

from ferryman.app import Ferryman
from ferryman.cli.display import duration, moment, print_json, shortened, show, table
from ferryman.cli.parameters import AsJson, Limit, Module, Prefix, Url
from ferryman.cli.shapes import job_shape, known_queue
from ferryman.errors import JobNotFound
from ferryman.job import JobInfo
from ferryman.location import find_app

State = Literal["running", "queued", "scheduled", "dead"]
STATES: tuple[State, ...] = get_args(State)


def command(
    module: Module = None,
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", help="Only of this queue.", show_default=False)
    ] = None,
    state: Annotated[
        State | None, typer.Option("--state", "-s", help="Only in this state.", show_default=False)
    ] = None,
    limit: Limit = 50,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """The jobs that run, wait, are scheduled or are dead, in the order of their turn.

    Example: [bold]ferryman jobs --queue mail --state dead --limit 20[/bold]
    """
    app = find_app(module, url=url, prefix=prefix)
    if queue is not None:
        known_queue(app, queue)
    found = list(itertools.islice(jobs_of(app, queue, state), limit + 1))
    shown = found[:limit]
    if as_json:
        print_json([job_shape(info) for info in shown])
        return
    if not shown:
        show(f"No {state or ''} jobs{f' in {queue}' if queue else ''}.".replace("  ", " "))
        return
    columns = ["id", "task", "state", "when", "attempts", "what"]
    show(table(columns, map(_row, shown), right=["attempts"], wraps=["what"]))
    if len(found) > limit:
        show(f"More than {limit}: --limit shows more, --queue and --state show others.")


def jobs_of(app: Ferryman, queue: str | None, state: State | None) -> Iterator[JobInfo]:
    """The jobs, read page by page. One that ends while we look is left out."""
    queues = [app.queue(queue)] if queue else list(app.queues())
    for wanted in [state] if state else STATES:
        for one in queues:
            for job in one.jobs(wanted):
                try:
                    yield job.info()
                except JobNotFound:
                    continue


def _row(info: JobInfo) -> list[object]:
    if info.state == "scheduled":
        when = f"due {moment(info.due_at)}"
    elif info.state == "dead":
        when = f"died {moment(info.finished_at)}"
    elif info.enqueued_at is not None:
        when = f"{duration((datetime.now(UTC) - info.enqueued_at).total_seconds())} old"
    else:
        when = "-"
    what = info.error if info.error and info.state != "running" else call_of(info)
    return [info.id, info.task, info.state, when, info.attempt, shortened(what, 100)]


def call_of(info: JobInfo) -> str:
    """The arguments as one would type them: ``(42, subject='Hello')``."""
    if info.args is None:
        return "(not readable here)"
    parts = [repr(item) for item in info.args]
    parts += [f"{name}={value!r}" for name, value in (info.kwargs or {}).items()]
    return f"({', '.join(parts)})"
