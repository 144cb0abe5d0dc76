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
