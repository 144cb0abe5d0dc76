"""``ferryman queues``: how the queues stand; ``pause``, ``resume`` and ``purge`` one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ferryman.cli.display import duration, moment, print_json, show, table
from ferryman.cli.parameters import AsJson, Module, Prefix, QueueName, Url, app_for
from ferryman.cli.purge import purge
from ferryman.cli.shapes import known_queue, queue_shape
from ferryman.location import find_app
from ferryman.queue import QueueInfo

_COLUMNS = ("queue", "queued", "scheduled", "running", "dead", "workers", "oldest", "next due", "paused")
_TAKE_A_VALUE = ("--url", "-u", "--prefix")


class ModuleOrCommand(TyperGroup):
    """``queues pause mail`` is a sub-command, ``queues shop.jobs`` names a module."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        plain, value_follows = [], False
        for place, word in enumerate(args):
            if not value_follows and not word.startswith("-"):
                plain.append(place)
            value_follows = not value_follows and word in _TAKE_A_VALUE
        if len(plain) == 1 and args[plain[0]] not in self.commands:
            args = [*args[: plain[0]], "--module", *args[plain[0] :]]
        return super().parse_args(ctx, args)


group = typer.Typer(
    cls=ModuleOrCommand, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)


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
        show(table(_COLUMNS, map(_row, found), right=_COLUMNS[1:7], wraps=["paused"]))


def _row(info: QueueInfo) -> list[object]:
    oldest = duration(info.oldest_age_s) if info.queued else "-"
    return [
        info.name, info.queued, info.scheduled, info.running, info.dead, info.workers, oldest,
        moment(info.next_due_at), info.paused or "-",
    ]  # fmt: skip


@group.command()
def pause(
    ctx: typer.Context,
    name: QueueName,
    module: Module = None,
    reason: Annotated[str, typer.Option("--reason", help="Shown to whoever looks.")] = "paused",
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Let workers fetch nothing more from a queue. Running jobs go on, new ones are taken in.

    Example: [bold]ferryman queues pause mail --reason "provider is down"[/bold]
    """
    app = app_for(ctx, module, url, prefix)
    changed = app.queue(known_queue(app, name)).pause(reason)
    _report(as_json, name, "paused", changed, f"{name} was paused already; the reason is now: {reason}")


@group.command()
def resume(
    ctx: typer.Context,
    name: QueueName,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """End a pause.

    Example: [bold]ferryman queues resume mail[/bold]
    """
    app = app_for(ctx, module, url, prefix)
    changed = app.queue(known_queue(app, name)).resume()
    _report(as_json, name, "resumed", changed, f"{name} was not paused")


def _report(as_json: bool, name: str, what: str, changed: bool, otherwise: str) -> None:
    if as_json:
        print_json({"queue": name, "action": what, "changed": changed})
    else:
        show(f"{name} {what}" if changed else otherwise)


group.command("purge")(purge)
