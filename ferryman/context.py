"""What a task can know of the job it runs: `current_job`."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ferryman import ids

if TYPE_CHECKING:
    from ferryman.app import Ferryman
    from ferryman.execution import Attempt


@dataclass(frozen=True, slots=True)
class Tick:
    """The firing of a schedule that a job comes from: the frame of a data pipeline's run."""

    schedule: str
    nominal: datetime
    """When it was to be by its schedule: neither jitter nor lateness move it. The moment it was asked for, if
    a person ran it.
    """
    previous: datetime | None
    """The nominal time before it."""
    next: datetime | None
    """The nominal time after it."""
    kind: str
    """``tick``, ``late`` (made up for after a misfire), ``manual`` or ``backfill``."""


@dataclass(slots=True)
class JobContext:
    """One attempt of a job, seen from inside its task."""

    app: Ferryman = field(repr=False)
    local: str
    shard: str
    """Where the job is kept: its queue, or one shard of it."""
    task: str
    attempt: int
    """1 on the first attempt. An attempt that a crash broke off is repeated under the same number."""
    worker: str
    enqueued_ms: int
    timeout_s: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _attempt: Attempt | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The job's public id."""
        return ids.join(self.local, self.shard)

    @property
    def queue(self) -> str:
        """The name of its queue."""
        return ids.base(self.shard)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to cancel this job. To ask costs nothing, so a long loop may do so often.

        If the task then returns, the job has succeeded; if it raises, whatever that is, it is cancelled.
        """
        return self._attempt is not None and self._attempt.cancelled

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the caller sent along."""
        found: Mapping[str, Any] = self.options.get("meta", {})
        return found

    @property
    def tags(self) -> tuple[str, ...]:
        """The words that the caller gave it to be found by."""
        return tuple(self.options.get("tags", ()))

    @property
    def tick(self) -> Tick | None:
        """The tick that the job comes from; None for a job that no schedule has made."""
        found: Mapping[str, Any] | None = self.options.get("tick")
        if found is None:
            return None
        times = [found.get(name) for name in ("previous", "next")]
        previous, following = (None if at is None else datetime.fromtimestamp(at / 1000, UTC) for at in times)
        nominal = datetime.fromtimestamp(found["at"] / 1000, UTC)
        return Tick(found["schedule"], nominal, previous, following, found["kind"])

    @property
    def enqueued_at(self) -> datetime:
        """When it was handed over."""
        return datetime.fromtimestamp(self.enqueued_ms / 1000, UTC)


_current: ContextVar[JobContext | None] = ContextVar("ferryman_job", default=None)


def current_job() -> JobContext:
    """The job that this code runs in. Raises `LookupError` outside of one."""
    job = _current.get()
    if job is None:
        raise LookupError("no job runs here: current_job() answers inside a task only")
    return job
