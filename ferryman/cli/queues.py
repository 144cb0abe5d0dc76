"""``ferryman queues``: how the queues stand; ``pause``, ``resume`` and ``purge`` one."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from ferryman.cli.display import console, duration, moment, print_json, show, table
from ferryman.cli.location import find_app
from ferryman.cli.parameters import AsJson, Module, Prefix, Url
from ferryman.cli.shapes import known_queue, queue_shape
from ferryman.errors import InvalidOption
from ferryman.queue import QueueInfo

_COLUMNS = ("queue", "queued", "scheduled", "running", "dead", "workers", "oldest", "next due", "paused")
_TAKE_A_VALUE = ("--url", "-u", "--prefix")


class ModuleOrCommand(TyperGroup):
    """``queues pause mail`` is a sub-command, ``queues shop.jobs`` names a module."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        position = 0
        while position < len(args) and args[position].startswith("-"):
            position += 2 if args[position] in _TAKE_A_VALUE else 1
        if position < len(args) and args[position] not in self.commands and args[position - 1] != "--":
            args = [*args[:position], "--module", args[position], *args[position + 1 :]]
        return super().parse_args(ctx, args)


group = typer.Typer(
    cls=ModuleOrCommand, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue.", show_default=False)]


@group.callback(invoke_without_command=True)
def command(
    ctx: typer.Context,
    module: Annotated[
        str | None, typer.Option("--module", hidden=True, envvar="FERRYMAN_APP", show_envvar=False)
    ] = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """How the queues stand: jobs by state, workers, and how long the oldest job has waited.

    Example: [bold]ferryman queues --url redis://localhost[/bold]
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = {"module": module, "url": url, "prefix": prefix}
        return
    app = find_app(module, url=url, prefix=prefix)
    found = [queue.info() for queue in app.queues()]
    if as_json:
        print_json([queue_shape(info) for info in found])
    elif not found:
        show("No queue has been used yet: a queue begins with its first job (ferryman enqueue MODULE:TASK)")
    else:
        show(table(_COLUMNS, map(_row, found), right=_COLUMNS[1:7]))


def _row(info: QueueInfo) -> list[object]:
    oldest = duration(info.oldest_age_s) if info.queued else "-"
    return [
        info.name, info.queued, info.scheduled, info.running, info.dead, info.workers, oldest,
        moment(info.next_due_at), info.paused or "-",
    ]  # fmt: skip


def _app(ctx: typer.Context, module: str | None, url: str | None, prefix: str | None) -> Any:
    outer = ctx.obj or {}
    return find_app(
        module or outer.get("module"), url=url or outer.get("url"), prefix=prefix or outer.get("prefix")
    )


@group.command()
def pause(
    ctx: typer.Context,
    name: Name,
    module: Module = None,
    reason: Annotated[str, typer.Option("--reason", help="Shown to whoever looks.")] = "paused",
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Let workers fetch nothing more from a queue. Running jobs go on, new ones are taken in.

    Example: [bold]ferryman queues pause mail --reason "provider is down"[/bold]
    """
    app = _app(ctx, module, url, prefix)
    changed = app.queue(known_queue(app, name)).pause(reason)
    _report(as_json, name, "paused", changed, f"{name} was paused already; the reason is now: {reason}")


@group.command()
def resume(
    ctx: typer.Context,
    name: Name,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """End a pause.

    Example: [bold]ferryman queues resume mail[/bold]
    """
    app = _app(ctx, module, url, prefix)
    changed = app.queue(known_queue(app, name)).resume()
    _report(as_json, name, "resumed", changed, f"{name} was not paused")


def _report(as_json: bool, name: str, what: str, changed: bool, otherwise: str) -> None:
    if as_json:
        print_json({"queue": name, "action": what, "changed": changed})
    else:
        show(f"{name} {what}" if changed else otherwise)


@group.command()
def purge(
    ctx: typer.Context,
    name: Name,
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
    app = _app(ctx, module, url, prefix)
    queue = app.queue(known_queue(app, name))
    total: int = getattr(queue.info(), state)
    if not yes and total:
        if not sys.stdin.isatty():
            raise InvalidOption(f"that deletes {total} {state} jobs of {name!r}: add --yes if you mean it")
        typer.confirm(f"Delete {total:,} {state} jobs of {name!r} for good?", abort=True, err=True)
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
        show(f"{deleted:,} {state} jobs of {name} deleted")
