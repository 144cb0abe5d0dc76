"""What became of a schedule's runs: its lines of history, and how each job stands now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferryman import ids
from ferryman.errors import FerrymanError
from ferryman.job import at
from ferryman.results import SUCCEEDED
from ferryman.results import decode as decode_result
from ferryman.schedules.info import ScheduledRun
from ferryman.schedules.record import RunEntry, read_run
from ferryman.store.keys import QueueKeys
from ferryman.store.sync import Operation

if TYPE_CHECKING:
    from ferryman.app import Ferryman


def runs(app: Ferryman, queue: str, name: str, limit: int) -> Operation[list[ScheduledRun]]:
    """The last runs, newest first."""
    lines = yield ("LRANGE", app.store.keys(queue).runs(name), 0, limit - 1)
    found = []
    for line in lines:
        entry = read_run(line)
        if entry is not None:
            found.append((yield from _run(app, queue, entry)))
    return found


def _run(app: Ferryman, queue: str, entry: RunEntry) -> Operation[ScheduledRun]:
    outcome, finished, error = "skipped", None, None
    if entry.kind.startswith("backfill"):
        outcome = "enqueued"
    elif entry.local != "-":
        located = yield app.lookup.locating(entry.local, queue)
        if located.place == "gone" and located.result is None:
            outcome = "unknown"
        else:
            info = app.lookup.describe(entry.local, queue, located)
            outcome, finished, error = info.state, info.finished_at, info.error
    return ScheduledRun(
        nominal_at=at(entry.nominal_ms),
        fired_at=at(entry.at_ms),
        lateness_s=(entry.at_ms - entry.nominal_ms) / 1000,
        kind=entry.kind,
        job_id=None if entry.local == "-" else ids.join(entry.local, queue),
        outcome=outcome,
        finished_at=finished,
        error=error,
    )


def last_success(keys: QueueKeys, name: str, look_at: int = 50) -> Operation[int | None]:
    """When a job of the schedule last succeeded (ms), as far as the last runs tell."""
    entries = [read_run(line) for line in (yield ("LRANGE", keys.runs(name), 0, look_at - 1))]
    wanted = [entry.local for entry in entries if entry is not None and entry.local != "-"]
    if not wanted:
        return None
    latest = None
    for raw in (yield ("MGET", *(keys.result(local) for local in wanted))):
        if raw is None:
            continue
        try:
            record = decode_result(raw)
        except FerrymanError:
            continue
        if record.state == SUCCEEDED:
            latest = max(latest or 0, record.finished_ms)
    return latest
