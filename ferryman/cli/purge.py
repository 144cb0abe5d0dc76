"""``ferryman queues purge``: delete a queue's jobs."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from ferryman.cli.display import console, print_json, show
from ferryman.cli.parameters import AsJson, Module, Prefix, QueueName, Url, app_for
from ferryman.cli.shapes import known_queue
from ferryman.doctor_probe import counted
from ferryman.errors import InvalidOption


def purge(
    ctx: typer.Context,
    name: QueueName,
    module: Module = None,
    state: Annotated[
        Literal["queued", "scheduled", "dead"], typer.Option("--state", help="Which jobs to delete.")
    ] = "queued",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Delete a queue's jobs that wait, are scheduled, or are dead. Running jobs are left alone.

    Example: [bold]ferryman queues purge mail --state dead[/bold]
    """
    app = app_for(ctx, module, url, prefix)
    queue = app.queue(known_queue(app, name))
    total: int = getattr(queue.info(), state)
    if not yes and total:
        if not sys.stdin.isatty():
            raise InvalidOption(
                f"that deletes {counted(total, f'{state} job')} of {name!r}: add --yes if you mean it"
            )
        typer.confirm(f"Delete {counted(total, f'{state} job')} of {name!r} for good?", abort=True, err=True)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("purging"), BarColumn(), MofNCompleteColumn(), console=console(stderr=True),
        transient=True, disable=as_json or not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        shown = bar.add_task("", total=total)
        deleted = queue.purge(state, progress=lambda count: bar.update(shown, completed=count))
    if as_json:
        print_json({"queue": name, "action": "purged", "state": state, "deleted": deleted})
    else:
        show(f"{counted(deleted, f'{state} job')} of {name} deleted")
