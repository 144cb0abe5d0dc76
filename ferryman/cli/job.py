"""``ferryman job``: everything about one job, or cancel or retry it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ferryman.cli.display import block, duration, print_json, show, text
from ferryman.cli.jobs import call_of
from ferryman.cli.parameters import AsJson, Module, Prefix, Url
from ferryman.cli.shapes import job_shape
from ferryman.errors import FerrymanError, InvalidOption
from ferryman.job import Cancellation, Job, JobInfo, not_found
from ferryman.location import find_app
from ferryman.outcome import AttemptRecord


class NotDone(FerrymanError):
    """The job is in no state in which that can be done."""

    code = "not_done"


def command(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id, as in 01K9…@mail.")],
    module: Module = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Take it out of its queue for good, if nobody runs it.")
    ] = False,
    running: Annotated[
        bool, typer.Option("--running", help="With --cancel: also if a worker runs it; that is interrupted.")
    ] = False,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry", help="Give a dead job all its attempts again, or a scheduled one its turn now."
        ),
    ] = False,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Everything about one job: state, arguments, and each failed attempt with its traceback.

    Example: [bold]ferryman job 01K9ZX3V8Q2M7RTB5N6DPA4CEW@mail[/bold]
    """
    if cancel and retry:
        raise InvalidOption("give --cancel or --retry, not both")
    if running and not cancel:
        raise InvalidOption("--running goes with --cancel")
    job = find_app(module, url=url, prefix=prefix).job(job_id)
    if running:
        _cancel_running(job, as_json)
        return
    if cancel or retry:
        _change(job, "cancel" if cancel else "retry", as_json)
        return
    info = job.info()
    if as_json:
        print_json(job_shape(info))
    else:
        _describe(info)


def _change(job: Job[Any], action: str, as_json: bool) -> None:
    done = job.cancel() if action == "cancel" else job.retry()
    if not done:
        state = job.state
        why = {
            "cancel": "a worker runs it; --running cancels it too" if state == "running" else "it has ended",
            "retry": "only a dead or a scheduled job can be given its turn",
        }[action]
        raise NotDone(f"job {job.id} is {state}, so nothing was done: {why}")
    if as_json:
        print_json({"id": job.id, "action": action, "changed": True})
    else:
        show(f"{job.id} cancelled" if action == "cancel" else f"{job.id} is queued again")


def _cancel_running(job: Job[Any], as_json: bool) -> None:
    found = job.cancel(running=True)
    if found is Cancellation.UNKNOWN:
        raise not_found(job.id)
    if not found:
        raise NotDone(f"job {job.id} is {job.state}, so nothing was done: it has ended")
    if as_json:
        print_json({"id": job.id, "action": "cancel", "changed": True, "cancellation": found.value})
    elif found is Cancellation.CANCELLED:
        show(f"{job.id} cancelled")
    else:
        show(f"{job.id} runs, and its worker is told to end it")


def _describe(info: JobInfo) -> None:
    from rich.table import Table

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(info):
        facts.add_row(name, text(value))
    show(facts)
    for record in info.attempts:
        show(text(""), text(_headline(record), "bold"), block(record.error, "red"))
        if record.traceback:
            show(block(record.traceback.rstrip()))


def _facts(info: JobInfo) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("job", info.id), ("task", info.task), ("state", info.state), ("queue", info.queue),
    ]  # fmt: skip
    if info.args is not None or info.state not in ("succeeded", "cancelled", "expired"):
        facts.append(("arguments", call_of(info)))
    facts.append(("attempts", info.attempt))
    if info.crashes:
        facts.append(("workers lost", info.crashes))
    if info.priority:
        facts.append(("priority", info.priority))
    for name, when in (
        ("enqueued", info.enqueued_at), ("due", info.due_at), ("started", info.started_at),
        ("finished", info.finished_at),
    ):  # fmt: skip
        if when is not None:
            facts.append((name, when.astimezone().isoformat(sep=" ", timespec="milliseconds")))
    if info.worker:
        facts.append(("worker", info.worker))
    if info.tags:
        facts.append(("tags", ", ".join(info.tags)))
    facts.extend((f"meta {name}", repr(value)) for name, value in info.meta.items())
    return facts


def _headline(record: AttemptRecord) -> str:
    took = duration(record.duration_ms / 1000)
    return f"attempt {record.number}: {record.outcome} after {took} on {record.worker or 'an unknown worker'}"
