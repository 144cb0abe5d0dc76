"""The sub-commands of ``ferryman schedules`` that change a schedule or run its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ferryman.app import Ferryman
from ferryman.cli import typed
from ferryman.cli.display import print_json, show
from ferryman.cli.parameters import AsJson, Module, Prefix, ScheduleName, Url, app_for
from ferryman.cli.schedule_shapes import schedule_shape
from ferryman.errors import InvalidArguments
from ferryman.schedules.book import BACKFILL_LIMIT

Cron = Annotated[str | None, typer.Option(metavar="EXPRESSION", help="Five fields, or six with seconds.")]
Every = Annotated[str | None, typer.Option(metavar="TIME", help="An interval: 90s, 15m, 1d.")]
At = Annotated[list[str] | None, typer.Option(metavar="ISO8601", help="A moment; repeatable.")]
Zone = Annotated[str | None, typer.Option("--tz", metavar="ZONE", help="As in Europe/Berlin; default UTC.")]
Anchor = Annotated[str | None, typer.Option(metavar="ISO8601", help="Count intervals from here.")]
Start = Annotated[str | None, typer.Option(metavar="ISO8601", help="No tick before it.")]
End = Annotated[str | None, typer.Option(metavar="ISO8601", help="No tick after it.")]
Jitter = Annotated[str | None, typer.Option(metavar="TIME", help="Each tick up to so much later.")]
Exclude = Annotated[list[str] | None, typer.Option(metavar="DAY", help="Not on that day; repeatable.")]
MisfirePolicy = Annotated[str | None, typer.Option("--misfire", help="skip, run_once or run_all.")]
Grace = Annotated[str | None, typer.Option(metavar="TIME", help="How late is still on time.")]
CatchUp = Annotated[int | None, typer.Option("--catch-up", help="Most missed ticks with run_all.")]
OverlapPolicy = Annotated[
    str | None, typer.Option("--overlap", help="allow, skip_if_running, queue_one or cancel_running.")
]
Fresh = Annotated[
    str | None, typer.Option("--unless-fresh", metavar="TIME", help="Not if the last success is younger.")
]
QueueOption = Annotated[str | None, typer.Option("--queue", "-q", help="Instead of the task's own.")]
Priority = Annotated[int | None, typer.Option(help="-1000 to 1000; higher runs first.")]


def register(group: typer.Typer) -> None:
    """Make these commands part of the group."""
    for function in (add, edit, pause, resume, remove, restore, reset, backfill):
        group.command()(function)
    group.command("run")(run_now)


def add(
    ctx: typer.Context,
    name: ScheduleName,
    task: Annotated[str, typer.Argument(metavar="TASK", help="As workers know it: module:function.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="ARG", help="Its arguments.")] = None,
    keywords: Annotated[list[str] | None, typer.Option("--kw", metavar="NAME=VALUE")] = None,
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    tz: Zone = None,
    anchor: Anchor = None,
    start: Start = None,
    end: End = None,
    jitter: Jitter = None,
    exclude: Exclude = None,
    misfire: MisfirePolicy = None,
    grace: Grace = None,
    catch_up: CatchUp = None,
    overlap: OverlapPolicy = None,
    unless_fresh: Fresh = None,
    queue: QueueOption = None,
    priority: Priority = None,
    module: Annotated[str | None, typer.Option("--module", envvar="FERRYMAN_APP")] = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Add a schedule. With --module its task and arguments are checked now, else by the worker.

    Example: [bold]ferryman schedules add report shop.jobs:report --cron "0 7 * * mon"[/bold]
    """
    app = app_for(ctx, module, url, prefix)
    found = app.get_task(task) if app.tasks else app.task_for(task)
    args, kwargs = typed.arguments(found.fn, words or [], typed.pairs(keywords or [], "--kw"))
    when = _when(
        cron=cron, every=every, at=at, tz=tz, anchor=anchor, start=start, end=end, jitter=jitter,
        exclude=exclude, misfire=misfire, grace=grace, catch_up=catch_up, overlap=overlap,
        unless_fresh=unless_fresh,
    )  # fmt: skip
    info = app.schedules.add(
        found, name=name, args=args, kwargs=kwargs, options=_options(queue, priority), **when
    )
    _show_one(app, info.name, as_json, "added")


def edit(
    ctx: typer.Context,
    name: ScheduleName,
    cron: Cron = None,
    every: Every = None,
    at: At = None,
    tz: Zone = None,
    anchor: Anchor = None,
    start: Start = None,
    end: End = None,
    jitter: Jitter = None,
    exclude: Exclude = None,
    misfire: MisfirePolicy = None,
    grace: Grace = None,
    catch_up: CatchUp = None,
    overlap: OverlapPolicy = None,
    unless_fresh: Fresh = None,
    queue: QueueOption = None,
    priority: Priority = None,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule; what is not named stays. Holds until its code says something new of that field.

    Example: [bold]ferryman schedules edit nightly-billing --cron "0 4 * * *"[/bold]
    """
    app = app_for(ctx, module, url, prefix)
    when = _when(
        cron=cron, every=every, at=at, tz=tz, anchor=anchor, start=start, end=end, jitter=jitter,
        exclude=exclude, misfire=misfire, grace=grace, catch_up=catch_up, overlap=overlap,
        unless_fresh=unless_fresh,
    )  # fmt: skip
    options = _options(queue, priority)
    if not when and not options:
        raise InvalidArguments("what shall be changed? As in --cron '0 4 * * *' or --tz Europe/Berlin")
    app.schedules.edit(name, options=options, **when)
    _show_one(app, name, as_json, "edited")


def _when(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value not in (None, [])}


def _options(queue: str | None, priority: int | None) -> Any:
    found = {name: value for name, value in (("queue", queue), ("priority", priority)) if value is not None}
    return found or None


def _show_one(app: Ferryman, name: str, as_json: bool, what: str) -> None:
    info = app.schedules.info(name)
    if as_json:
        print_json(schedule_shape(info))
    else:
        upcoming = f"; next {info.next_at.isoformat()}" if info.next_at else ""
        show(f"{name} {what}: {info.words}{upcoming}")


def pause(
    ctx: typer.Context,
    name: ScheduleName,
    module: Module = None,
    reason: Annotated[str, typer.Option("--reason", help="Shown to whoever looks.")] = "paused",
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """No ticks until resumed; no deployment resumes it.

    Example: [bold]ferryman schedules pause nightly-billing --reason "audit"[/bold]
    """
    changed = app_for(ctx, module, url, prefix).schedules.pause(name, reason)
    _report(as_json, name, "paused", changed, f"{name} was paused already")


def resume(
    ctx: typer.Context,
    name: ScheduleName,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """End a pause; the next tick is the first from now.

    Example: [bold]ferryman schedules resume nightly-billing[/bold]
    """
    changed = app_for(ctx, module, url, prefix).schedules.resume(name)
    _report(as_json, name, "resumed", changed, f"{name} was not paused")


def remove(
    ctx: typer.Context,
    name: ScheduleName,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Delete a schedule. One that code defines stays deleted until restored.

    Example: [bold]ferryman schedules remove report[/bold]
    """
    changed = app_for(ctx, module, url, prefix).schedules.remove(name)
    _report(as_json, name, "removed", changed, f"{name} was removed already")


def restore(
    ctx: typer.Context,
    name: ScheduleName,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Bring back a deleted schedule that code defines.

    Example: [bold]ferryman schedules restore report[/bold]
    """
    changed = app_for(ctx, module, url, prefix).schedules.restore(name)
    _report(as_json, name, "restored", changed, f"{name} was not removed")


def reset(
    ctx: typer.Context,
    name: ScheduleName,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Undo what was edited at run time: the schedule is again as its code says.

    Example: [bold]ferryman schedules reset nightly-billing[/bold]
    """
    changed = app_for(ctx, module, url, prefix).schedules.reset(name)
    _report(as_json, name, "reset", changed, f"{name} was not edited")


def run_now(
    ctx: typer.Context,
    name: ScheduleName,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue a job of the schedule at once, and print its id. Its ticks stay as they are.

    Example: [bold]ferryman schedules run nightly-billing[/bold]
    """
    job = app_for(ctx, module, url, prefix).schedules.run_now(name)
    print_json({"name": name, "job": job.id}) if as_json else show(job.id)


def backfill(
    ctx: typer.Context,
    name: ScheduleName,
    from_: Annotated[str, typer.Option("--from", metavar="ISO8601", help="From this moment on.")],
    to: Annotated[str, typer.Option("--to", metavar="ISO8601", help="Up to, and not including, this.")],
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="More ticks are refused.")] = BACKFILL_LIMIT,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue a job for each tick of a past time; those that ran already are left alone.

    Moments without a zone are in the schedule's own.

    Example: [bold]ferryman schedules backfill nightly-billing --from 2026-03-01 --to 2026-04-01[/bold]
    """
    made = app_for(ctx, module, url, prefix).schedules.backfill(name, from_, to, limit=limit)
    _report_jobs(name, [job.id for job in made], as_json)


def _report_jobs(name: str, ids: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "enqueued": len(ids), "jobs": list(ids)})
    else:
        show(*ids, f"{len(ids)} jobs of {name} enqueued")


def _report(as_json: bool, name: str, what: str, changed: bool, otherwise: str) -> None:
    if as_json:
        print_json({"name": name, "action": what, "changed": changed})
    else:
        show(f"{name} {what}" if changed else otherwise)
