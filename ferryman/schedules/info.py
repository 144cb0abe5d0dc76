"""What is known of a schedule and of its runs, as commands and the dashboard show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ferryman.errors import FerrymanError
from ferryman.job import at
from ferryman.schedules.definition import Definition
from ferryman.schedules.record import Hands, Record, decode
from ferryman.schedules.words import describe

Condition = Literal["active", "paused", "removed", "ended", "faulty"]


@dataclass(frozen=True)
class ScheduleInfo:
    """A schedule at one moment."""

    name: str
    queue: str
    state: Condition
    """``removed``: at run time, while its source still defines it. ``faulty``: see `problem`."""
    definition: Definition | None
    """What holds now; None if the record cannot be read."""
    words: str
    """When it runs, in words."""
    next_at: datetime | None
    """When its next tick is due."""
    nominal_at: datetime | None
    """The nominal time of that tick: `next_at` without the jitter."""
    last_at: datetime | None
    """The nominal time of the last tick."""
    paused: str
    """Why it is paused; empty if it is not."""
    source: str
    """``code:<app>``, ``file:<path>``, or empty for one that was added at run time."""
    edited: tuple[str, ...]
    """Fields that somebody changed at run time."""
    changed_at: datetime | None
    version: int
    problem: str = ""
    record: Record | None = None


@dataclass(frozen=True)
class ScheduledRun:
    """One line of a schedule's history."""

    nominal_at: datetime | None
    fired_at: datetime | None
    lateness_s: float
    """From the nominal time to the enqueue; jitter counts."""
    kind: str
    """``tick``, ``late`` (made up for), ``manual``, ``backfill:<jobs>``; or, without a job, ``overlap``,
    ``missed:<ticks>``, ``fresh``.
    """
    job_id: str | None
    outcome: str
    """A job's state; ``skipped`` where there was none; ``unknown`` if its record's time is over."""
    finished_at: datetime | None = None
    error: str | None = None


def info_of(
    queue: str, name: str, raw: bytes | None, hands: bytes | None, due_ms: int | None, tasks: Any = ()
) -> ScheduleInfo:
    """What is known, whatever is kept. `tasks`: names that this app knows; empty if it knows none."""
    record, definition, problem = None, None, ""
    stand = Hands()
    try:
        stand = Hands.read(hands)
        record = decode(raw or b"")
        definition = record.definition()
        words = describe(definition)
        if tasks and definition.task not in tasks:
            problem = f"no task {definition.task!r} is registered with this app"
    except FerrymanError as error:
        problem, words = str(error), ""
    state: Condition
    if record is None or definition is None:
        state = "faulty"
    elif record.removed:
        state = "removed"
    elif record.paused:
        state = "paused"
    else:
        state = "ended" if stand.next_ms is None else "active"
    ticking = state == "active"
    return ScheduleInfo(
        name=name,
        queue=queue,
        state=state,
        definition=definition,
        words=words,
        next_at=at(due_ms) if ticking else None,
        nominal_at=at(stand.next_ms) if ticking else None,
        last_at=at(stand.last_ms),
        paused=record.paused if record else "",
        source=record.source if record else "",
        edited=tuple(sorted(record.edits)) if record else (),
        changed_at=at(record.changed_ms) if record else None,
        version=stand.version,
        problem=problem,
        record=record,
    )
