"""``ferryman workers``: who works, and on what; ``quiet``, ``resume``, ``stop``, and their ``stacks``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from ferryman.app import Ferryman
from ferryman.cli.display import block, duration, print_json, shortened, show, table, text
from ferryman.cli.parameters import AsJson, Prefix, Url, app_for
from ferryman.cli.queues import ModuleOrCommand
from ferryman.doctor_probe import bytes_text
from ferryman.errors import FerrymanError
from ferryman.job import at
from ferryman.location import find_app
from ferryman.notes import Note
from ferryman.workers import Answer

_SHOWN_JOBS = 3

group = typer.Typer(
    cls=ModuleOrCommand, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID...]", help="Workers, or supervisors; none: all.", show_default=False),
]
Wait = Annotated[float, typer.Option("--timeout", min=0, help="How many seconds to wait for answers.")]


class NoAnswer(FerrymanError):
    """A worker was told something and did not say that it heard."""

    code = "no_answer"


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
    """The worker processes of the whole fleet, what they run and for how long.

    What they say of themselves is a few seconds old. Example: [bold]ferryman workers[/bold]
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = {"module": module, "url": url, "prefix": prefix}
        return
    app = find_app(module, url=url, prefix=prefix)
    notes = fleet(app)
    if as_json:
        print_json([_shape(note) for note in notes])
    elif not notes:
        # The lease comes first: what a process says of itself follows with a beat of its supervisor's.
        show(
            "Workers have just started: they say within seconds what they do."
            if any(queue.info().workers for queue in app.queues())
            else "No worker runs. Start one: ferryman worker MODULE"
        )
    else:
        columns = ["worker", "state", "queues", "up", "done", "failed", "memory", "busy", "running"]
        right = ["up", "done", "failed", "memory", "busy"]
        show(table(columns, map(_row, notes), right=right, wraps=["queues", "running"]))
        for note in notes:
            if note.newest_met:
                show(
                    f"{note.id} (Ferryman {note.release}, envelopes up to {note.reads}) has left jobs of "
                    f"version {note.newest_met} to newer workers {note.left} times: upgrade it"
                )


def fleet(app: Ferryman) -> list[Note]:
    """What each worker process says of itself, by name."""
    return app.workers().notes()


@group.command()
def quiet(
    ctx: typer.Context,
    ids: Ids = None,
    url: Url = None,
    prefix: Prefix = None,
    timeout: Wait = 5.0,
    as_json: AsJson = False,
) -> None:
    """Let workers take no new jobs; what runs goes on. Example: [bold]ferryman workers quiet[/bold]"""
    answers = app_for(ctx, None, url, prefix).workers().quiet(*ids or (), timeout=timeout)
    _report(answers, "takes no new jobs", timeout, as_json)


@group.command()
def resume(
    ctx: typer.Context,
    ids: Ids = None,
    url: Url = None,
    prefix: Prefix = None,
    timeout: Wait = 5.0,
    as_json: AsJson = False,
) -> None:
    """Let quiet workers take jobs again. Example: [bold]ferryman workers resume[/bold]"""
    answers = app_for(ctx, None, url, prefix).workers().resume(*ids or (), timeout=timeout)
    _report(answers, "takes jobs again", timeout, as_json)


@group.command()
def stop(
    ctx: typer.Context,
    ids: Ids = None,
    url: Url = None,
    prefix: Prefix = None,
    timeout: Wait = 5.0,
    as_json: AsJson = False,
) -> None:
    """End workers in good order: what runs may go on for the grace. They have no successors.

    Example: [bold]ferryman workers stop box-4242-3fa9c1[/bold]
    """
    answers = app_for(ctx, None, url, prefix).workers().stop(*ids or (), timeout=timeout)
    _report(answers, "drains", timeout, as_json)


@group.command()
def stacks(
    ctx: typer.Context,
    ids: Ids = None,
    url: Url = None,
    prefix: Prefix = None,
    timeout: Wait = 5.0,
    as_json: AsJson = False,
) -> None:
    """What each thread and coroutine that runs a job does at this moment: why does it hang?

    Example: [bold]ferryman workers stacks box-4242-3fa9c1[/bold]
    """
    answers = app_for(ctx, None, url, prefix).workers().stacks(*ids or (), timeout=timeout)
    _report(answers, "", timeout, as_json)


def _report(answers: list[Answer], did: str, timeout: float, as_json: bool) -> None:
    if as_json:
        print_json([{"worker": one.worker, "done": one.done, "text": one.text} for one in answers])
    elif not answers:
        show("No worker runs.")
    else:
        for one in answers:
            if one.done:
                show(block(one.text.rstrip()) if one.text else text(f"{one.worker} {did}"))
    if silent := [one.worker for one in answers if not one.done]:
        raise NoAnswer(f"no answer within {timeout:g} s from {', '.join(silent)}: stuck, stopped or gone")


def _row(note: Note) -> list[object]:
    doing = sorted(note.doing, key=lambda one: -one.since_s)
    jobs = [f"{one.job} {duration(one.since_s)}" for one in doing[:_SHOWN_JOBS]]
    if len(doing) > _SHOWN_JOBS:
        jobs.append(f"and {len(doing) - _SHOWN_JOBS} more")
    slots = note.threads + (note.concurrency if len(doing) > note.threads else 0)
    return [
        note.id, note.state, shortened(",".join(note.queues), 40),
        duration(max(time.time() - note.started_ms / 1000, 0)), note.done, note.failed,
        bytes_text(note.rss) if note.rss else "-", f"{len(doing)}/{slots}", ", ".join(jobs) or "-",
    ]  # fmt: skip


def _shape(note: Note) -> dict[str, Any]:
    return {
        "id": note.id,
        "host": note.host,
        "pid": note.pid,
        "supervisor": note.supervisor,
        "supervisor_id": note.supervisor_id,
        "state": note.state,
        "queues": note.queues,
        "threads": note.threads,
        "concurrency": note.concurrency,
        "started_at": at(note.started_ms),
        "noted_at": at(note.noted_ms),
        "done": note.done,
        "failed": note.failed,
        "memory": note.rss,
        "release": note.release,
        "reads": note.reads,
        "newest_met": note.newest_met,
        "left": note.left,
        "heard_s": round(note.heard_s, 3),
        "doing": [{"job": one.job, "since_s": round(one.since_s, 3)} for one in note.doing],
    }
