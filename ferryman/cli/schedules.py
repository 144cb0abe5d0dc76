"""``ferryman schedules``: what runs when, and what came of it; the sub-commands change it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from ferryman.cli import schedules_change, schedules_text
from ferryman.cli.display import duration, moment, print_json, show, table
from ferryman.cli.parameters import AsJson, Module, Prefix, ScheduleName, Url, app_for
from ferryman.cli.queues import ModuleOrCommand
from ferryman.cli.schedule_shapes import run_shape, schedule_shape
from ferryman.location import find_app
from ferryman.schedules.info import ScheduledRun, ScheduleInfo

_COLUMNS = ("schedule", "state", "when", "next", "last", "queue", "task")
_RUN_COLUMNS = ("nominal", "late", "kind", "outcome", "finished", "job")

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
    """What runs when: every schedule with its next and last tick.

    Example: [bold]ferryman schedules --url redis://localhost[/bold]
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = {"module": module, "url": url, "prefix": prefix}
        return
    found = find_app(module, url=url, prefix=prefix).schedules.overview()
    if as_json:
        print_json([schedule_shape(info) for info in found])
    elif not found:
        show("No schedule is kept here: define some in code and start ferryman scheduler MODULE, or add one")
    else:
        show(table(_COLUMNS, map(_row, found), wraps=["when", "task"]))


def _row(info: ScheduleInfo) -> list[object]:
    state = info.state + ("*" if info.edited else "")
    task = info.definition.task if info.definition else "-"
    return [
        info.name, state, info.problem if info.state == "faulty" else info.words, moment(info.next_at),
        moment(info.last_at), info.queue, task,
    ]  # fmt: skip


@group.command("show")
def show_one(
    ctx: typer.Context,
    name: ScheduleName,
    module: Module = None,
    count: Annotated[int, typer.Option("--next", "-n", min=1, max=1000, help="How many ticks to show.")] = 5,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """One schedule: in words, its next ticks in its zone and in UTC, and what was changed at run time.

    Example: [bold]ferryman schedules show nightly-billing --next 10[/bold]
    """
    schedules = app_for(ctx, module, url, prefix).schedules
    info = schedules.info(name)
    ticks = schedules.upcoming(name, count) if info.definition else []
    zone = ZoneInfo(info.definition.tz) if info.definition else ZoneInfo("UTC")
    if as_json:
        shown = [{"local": at.astimezone(zone).isoformat(), "utc": at} for at in ticks]
        print_json({**schedule_shape(info), "upcoming": shown})
        return
    lines: list[tuple[str, object]] = [("schedule", info.name), ("state", info.state)]
    if info.problem:
        lines.append(("problem", info.problem))
    lines += [("when", info.words), ("queue", info.queue)]
    if info.definition:
        text = info.definition
        lines += [("task", text.task), ("misfire", text.misfire), ("overlap", text.overlap)]
    lines += [("source", info.source or "added at run time"), ("last tick", moment(info.last_at))]
    if info.paused:
        lines.append(("paused", info.paused))
    if info.edited:
        lines.append(("edited", ", ".join(info.edited)))
    show(table(("", ""), [[name, value] for name, value in lines], wraps=[""]))
    if ticks:
        rows = [[_local(at, zone), f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"] for at in ticks]
        show("", table((f"next, {zone.key}", "UTC"), rows))


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %z}"


@group.command()
def history(
    ctx: typer.Context,
    name: ScheduleName,
    module: Module = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="Show at most so many.")] = 20,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """The last runs of a schedule: how late each was, and how its job ended.

    Example: [bold]ferryman schedules history nightly-billing[/bold]
    """
    found = app_for(ctx, module, url, prefix).schedules.history(name, limit)
    if as_json:
        print_json([run_shape(run) for run in found])
    elif not found:
        show(f"{name} has not run yet")
    else:
        show(table(_RUN_COLUMNS, map(_run_row, found), right=["late"]))


def _run_row(run: ScheduledRun) -> list[Any]:
    return [
        moment(run.nominal_at), duration(max(run.lateness_s, 0)) if run.job_id else "-", run.kind,
        run.outcome, moment(run.finished_at), run.job_id or "-",
    ]  # fmt: skip


schedules_change.register(group)
schedules_text.register(group)
