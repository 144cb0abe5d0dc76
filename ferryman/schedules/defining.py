"""From what a user writes to a `Definition`: the task, its arguments as a worker will check them, the options
of its jobs, and when.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from ferryman.errors import InvalidOption
from ferryman.options import Options
from ferryman.schedules.definition import Definition, Misfire, Overlap, check, timing
from ferryman.schedules.spans import Span

if TYPE_CHECKING:
    from ferryman.app import Ferryman
    from ferryman.task import Task

Moment = datetime | str


class ScheduleOptions(TypedDict, total=False):
    """Keyword arguments of ``app.schedule(...)``, ``@app.cron(...)`` and ``@app.every(...)``. Lengths of time
    are seconds, timedeltas or texts like ``"1h30m"``; moments are datetimes or ISO 8601, without a zone in
    `tz`.
    """

    tz: str
    """IANA name of the zone in which cron and moments are read; ``UTC`` if not given."""
    anchor: Moment
    """A moment that intervals are counted from; 1970 if not given."""
    start: Moment
    """No tick before it."""
    end: Moment
    """No tick after it."""
    jitter: Span
    """Each tick is up to so much late, always the same for the same tick."""
    exclude: Sequence[str]
    """Days without ticks: ``2026-12-25``, ``12-25``, ``2026-12-24/2027-01-01``, ``sat``."""
    misfire: Misfire
    """What becomes of ticks that were missed by more than `grace`: ``run_once`` (default) runs one job for
    all, ``run_all`` one for each, ``skip`` none.
    """
    grace: Span
    """How late a tick may be and still count as on time; a minute if not given."""
    catch_up: int
    """With ``run_all``: at most so many, the latest; 100 if not given."""
    overlap: Overlap
    """What a tick does while a job of the schedule has not ended: ``allow`` (default), ``skip_if_running``,
    ``queue_one`` (it waits for the end; one at a time waits) or ``cancel_running``.
    """
    unless_fresh: Span
    """A tick is skipped if the schedule's last success is younger than this."""


class JobOptions(TypedDict, total=False):
    """Options of the jobs that a schedule makes: as of ``task.options(...)``."""

    queue: str
    retry: Any
    timeout: Any
    result_ttl: Any
    expires: Any
    priority: int
    meta: Mapping[str, Any]
    tags: Sequence[str]
    duration: Any


def define(
    app: Ferryman,
    task: str | Task[..., Any] | Callable[..., Any],
    *,
    name: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    **when: Any,
) -> Definition:
    """A checked definition. Raises `InvalidOption`, `InvalidArguments`, `UnknownTask`,
    `ConfigurationError`.
    """
    found = app.task_for(task)
    for option in ("delay", "at", "id"):
        if options and option in options:
            raise InvalidOption(f"{option}= is said of one job; a schedule's jobs get theirs from the tick")
    chosen = found.defaults.override(**(options or {}))
    packed, keywords, marks = app.payloads.pack(found.codec, tuple(args), dict(kwargs or {}))
    shown = name if name is not None else _name_from(found.name)
    return check(
        Definition(
            name=shown, task=found.name, queue=chosen.queue, args=bytes(packed),
            kwargs=None if keywords is None else bytes(keywords),
            **job_fields(chosen, marks), **timing(when),
        )
    )  # fmt: skip


def job_fields(options: Options, marks: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields of a `Definition` that hold the options of its jobs."""
    wire = dict(options.to_wire(0) or {})
    wire.pop("expires", None)
    return {
        "options": {**wire, **(marks or {})},
        "expires_ms": None if options.expires_s is None else int(options.expires_s * 1000),
        "duration_ms": None if options.duration_s is None else int(options.duration_s * 1000),
    }


def _name_from(task: str) -> str:
    return re.sub(r"[^A-Za-z0-9._:-]+", "-", task)[-90:].strip("-")
