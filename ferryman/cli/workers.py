"""``ferryman workers``: who works, and on what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from ferryman.app import Ferryman
from ferryman.cli.display import duration, print_json, shortened, show, table
from ferryman.cli.parameters import AsJson, Module, Prefix, Url
from ferryman.doctor_probe import bytes_text
from ferryman.job import at
from ferryman.location import find_app

if TYPE_CHECKING:
    from ferryman.worker.notes import Note

_SHOWN_JOBS = 3


def command(module: Module = None, url: Url = None, prefix: Prefix = None, as_json: AsJson = False) -> None:
    """The worker processes of the whole fleet, what they run and for how long.

    What they say of themselves is a few seconds old. Example: [bold]ferryman workers[/bold]
    """
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
    """What each worker process says of itself, by name. One that has gone meanwhile is left out."""
    from ferryman.worker import notes

    found = []
    ids: Any = app.store.pool.command("ZRANGE", app.store.fleet_keys.fleet, 0, -1)
    for worker_id in sorted(ids):
        record = app.store.pool.command("GET", app.store.fleet_keys.worker(worker_id.decode()))
        try:
            if record is not None:
                found.append(notes.decode(record))
        except msgspec.MsgspecError:  # of another version: its jobs are seen in the queues all the same
            continue
    return found


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
