"""The JSON that commands print: stable shapes, described in docs/cli.md. Fields are added, never renamed."""

from __future__ import annotations

import difflib
from typing import Any

from ferryman.app import Ferryman
from ferryman.errors import InvalidOption
from ferryman.job import JobInfo, at
from ferryman.outcome import AttemptRecord
from ferryman.queue import QueueInfo


def queue_shape(info: QueueInfo) -> dict[str, Any]:
    """A queue."""
    return {
        "name": info.name,
        "queued": info.queued,
        "scheduled": info.scheduled,
        "running": info.running,
        "dead": info.dead,
        "workers": info.workers,
        "oldest_age_s": round(info.oldest_age_s, 3),
        "next_due_at": info.next_due_at,
        "paused": info.paused,
    }


def attempt_shape(record: AttemptRecord) -> dict[str, Any]:
    """One attempt that did not succeed."""
    return {
        "number": record.number,
        "outcome": record.outcome,
        "worker": record.worker,
        "started_at": at(record.started_ms),
        "duration_s": record.duration_ms / 1000,
        "error": record.error,
        "traceback": record.traceback,
        "fingerprint": record.fingerprint,
    }


def job_shape(info: JobInfo) -> dict[str, Any]:
    """A job, with everything that is known of it."""
    return {
        "id": info.id,
        "queue": info.queue,
        "task": info.task,
        "state": info.state,
        "args": info.args,
        "kwargs": info.kwargs,
        "attempt": info.attempt,
        "crashes": info.crashes,
        "priority": info.priority,
        "enqueued_at": info.enqueued_at,
        "due_at": info.due_at,
        "started_at": info.started_at,
        "finished_at": info.finished_at,
        "worker": info.worker,
        "tags": info.tags,
        "meta": dict(info.meta),
        "error": info.error,
        "attempts": [attempt_shape(record) for record in info.attempts],
    }


def known_queue(app: Ferryman, name: str) -> str:
    """`name` if a queue of that name was ever used. Raises `InvalidOption` with the nearest there is."""
    names = [queue.name for queue in app.queues()]
    if app.queue(name).name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"there are {', '.join(names[:10])}" if names else "no queue has ever been used here"
    raise InvalidOption(f"there is no queue {name!r}; {hint}")
