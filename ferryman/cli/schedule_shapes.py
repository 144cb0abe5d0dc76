"""The JSON of schedules: stable shapes, described in docs/schedules.md. Fields are added, never renamed."""

from __future__ import annotations

from typing import Any

from ferryman.schedules.files import table_of
from ferryman.schedules.info import ScheduledRun, ScheduleInfo


def schedule_shape(info: ScheduleInfo) -> dict[str, Any]:
    """A schedule."""
    return {
        "name": info.name,
        "state": info.state,
        "queue": info.queue,
        "words": info.words,
        "next_at": info.next_at,
        "nominal_at": info.nominal_at,
        "last_at": info.last_at,
        "paused": info.paused or None,
        "source": info.source or None,
        "edited": list(info.edited),
        "version": info.version,
        "changed_at": info.changed_at,
        "problem": info.problem or None,
        "definition": table_of(info.definition) if info.definition else None,
    }


def run_shape(run: ScheduledRun) -> dict[str, Any]:
    """One line of a schedule's history."""
    return {
        "nominal_at": run.nominal_at,
        "fired_at": run.fired_at,
        "lateness_s": run.lateness_s,
        "kind": run.kind,
        "job": run.job_id,
        "outcome": run.outcome,
        "finished_at": run.finished_at,
        "error": run.error,
    }
