"""A job as its caller holds it: a handle that knows the id, and asks Redis for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from ferryman import ids
from ferryman.errors import (
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    NoResult,
    ResultTimeout,
    UnsupportedVersion,
    WorkerLost,
)
from ferryman.outcome import AttemptRecord

if TYPE_CHECKING:
    from ferryman.app import Ferryman

R = TypeVar("R")

State = Literal["scheduled", "waiting", "queued", "running", "succeeded", "dead", "cancelled", "expired"]
ENDED: frozenset[str] = frozenset({"succeeded", "dead", "cancelled", "expired"})
_STATE_OF_PLACE: dict[str, State] = {
    "ready": "queued",
    "ranked": "queued",
    "delayed": "scheduled",
    "retries": "scheduled",
    "held": "running",
    "dead": "dead",
}


class Cancellation(Enum):
    """What became of a request to cancel a job, running or not. True if it is cancelled, or asked to end."""

    CANCELLED = "cancelled"
    """Now, and for good: no worker ran it."""
    ASKED = "asked"
    """A worker runs it, and is told at once. It ends cancelled, unless it succeeds before that."""
    ENDED = "ended"
    """It had ended already."""
    UNKNOWN = "unknown"
    """There is no trace of it: it never was, or it ended and keeps no result (any more)."""

    def __bool__(self) -> bool:
        return self in (Cancellation.CANCELLED, Cancellation.ASKED)


def state_of(place: str, ended: str = "") -> State:
    """A job's state from the place of its id; for an id that has none, `ended` is what its result says."""
    return _STATE_OF_PLACE.get(place) or cast("State", ended)


@dataclass(frozen=True)
class JobInfo:
    """What is known of a job at one moment."""

    id: str
    queue: str
    state: State
    task: str
    args: tuple[Any, ...] | None
    """None where the arguments cannot be read here, or are gone with the job."""
    kwargs: Mapping[str, Any] | None
    attempt: int
    """Attempts that have been made; a running one is not yet among them."""
    attempts: tuple[AttemptRecord, ...]
    """The attempts that failed, oldest first, the newest 50."""
    crashes: int
    """Workers that were lost while they ran it."""
    enqueued_at: datetime | None
    due_at: datetime | None = None
    """When a scheduled job runs."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    """Who runs it, or ran it last."""
    priority: int = 0
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        """The last failed attempt's error."""
        return self.attempts[-1].error if self.attempts else None

    @property
    def traceback(self) -> str | None:
        """The last failed attempt's traceback."""
        return self.attempts[-1].traceback if self.attempts else None


def at(ms: float | None) -> datetime | None:
    """An aware datetime of milliseconds since the epoch; None of None, of 0 and of what no calendar holds."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC) if ms else None
    except (ValueError, OverflowError, OSError):
        return None


class Job(Generic[R]):
    """One request to run a task. The handle is cheap; every property but the id asks Redis."""

    __slots__ = ("_app", "_keeps_result", "local", "shard")

    def __init__(self, app: Ferryman, local: str, shard: str, keeps_result: bool | None = None) -> None:
        self._app = app
        self.local = local
        self.shard = shard
        self._keeps_result = keeps_result

    @property
    def queue(self) -> str:
        """The name of its queue."""
        return ids.base(self.shard)

    @property
    def id(self) -> str:
        """``<local>@<queue>``: all that is needed to find the job again, ``app.job(id)``."""
        return ids.join(self.local, self.shard)

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and (self.local, self.shard) == (other.local, other.shard)

    def __hash__(self) -> int:
        return hash((self.local, self.shard))

    def info(self) -> JobInfo:
        """Everything known of the job. Raises `JobNotFound` when it left no trace."""
        return self._app.store.drive(self._app.lookup.info(self.local, self.shard))

    async def ainfo(self) -> JobInfo:
        """As `info`, on the running event loop."""
        return await self._app.store.adrive(self._app.lookup.info(self.local, self.shard))

    @property
    def state(self) -> State:
        """Where the job is in its life. Raises `JobNotFound` when it left no trace."""
        return self.info().state

    async def astate(self) -> State:
        """As `state`, on the running event loop."""
        return (await self.ainfo()).state

    def result(self, timeout: float | None = None) -> R:
        """Wait for the job's end and give what the task returned. `timeout` in seconds; None waits for ever.

        Raises `NoResult` at once if the task keeps none, `ResultTimeout`, and for a job that ended otherwise
        `JobFailed` (dead, with the last attempt's error), `WorkerLost`, `JobCancelled`, `JobExpired` or
        `JobNotFound`.
        """
        self._refuse_without_result()
        value: R = self._app.listener.wait(self.local, self.shard, timeout)
        return value

    async def aresult(self, timeout: float | None = None) -> R:
        """As `result`, on the running event loop."""
        self._refuse_without_result()
        value: R = await self._app.listener.await_(self.local, self.shard, timeout)
        return value

    @overload
    def cancel(self, *, running: Literal[False] = False) -> bool: ...
    @overload
    def cancel(self, *, running: Literal[True]) -> Cancellation: ...
    def cancel(self, *, running: bool = False) -> bool | Cancellation:
        """Take the job out of its queue for good, if no worker runs it. Whether it was cancelled.

        With ``running=True`` also if one does, and then the answer is a `Cancellation`. The job's code is
        interrupted: `ferryman.interrupts.Cancelled`, a `BaseException`, is raised in its thread, or its
        coroutine is cancelled. If it has not ended ``kill_after_s`` later, its process is replaced, and the
        other jobs in it run again, uncharged. The job ends ``cancelled``, with no further attempt and none
        counted. The request is kept in Redis: if the worker is lost, or the attempt fails, the job is
        cancelled instead of being run again. Only a job that succeeds before it is stopped has succeeded.
        """
        outcome = self._app.store.drive(self._app.lookup.cancel(self.local, self.shard, running))
        return bool(outcome) if outcome is None or not running else outcome

    @overload
    async def acancel(self, *, running: Literal[False] = False) -> bool: ...
    @overload
    async def acancel(self, *, running: Literal[True]) -> Cancellation: ...
    async def acancel(self, *, running: bool = False) -> bool | Cancellation:
        """As `cancel`, on the running event loop."""
        outcome = await self._app.store.adrive(self._app.lookup.cancel(self.local, self.shard, running))
        return bool(outcome) if outcome is None or not running else outcome

    def retry(self) -> bool:
        """Give a dead job all its attempts again, or a scheduled one its turn now. Whether there was such a
        job.
        """
        return self._app.store.drive(self._app.lookup.revive(self.local, self.shard))

    async def aretry(self) -> bool:
        """As `retry`, on the running event loop."""
        return await self._app.store.adrive(self._app.lookup.revive(self.local, self.shard))

    def _refuse_without_result(self) -> None:
        if self._keeps_result is False:
            raise NoResult(
                f"job {self.id}: its task keeps no result; declare what it returns (-> int) "
                "or set result_ttl= on the task or the call"
            )


def raise_for(info: JobInfo) -> None:
    """The error that the end of a job without success is for whoever waits for its result."""
    error, traceback = info.error or "", info.traceback or ""
    if info.state == "dead":
        lost = bool(info.attempts) and info.attempts[-1].outcome == "crashed"
        kind = WorkerLost if lost else JobFailed
        raise kind(
            f"job {info.id} ({info.task}) is dead: {error}", job_id=info.id, error=error, traceback=traceback
        )
    if info.state == "cancelled":
        raise JobCancelled(f"job {info.id} ({info.task}) was cancelled", job_id=info.id)
    if info.state == "expired":
        raise JobExpired(f"job {info.id} ({info.task}) expired before a worker took it", job_id=info.id)
    if info.state not in ENDED:  # or the caller would wait for an end that has come
        raise UnsupportedVersion(
            f"job {info.id} ({info.task}) ended as {info.state!r}, as only a newer Ferryman writes: "
            "upgrade this program"
        )


def not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"no trace of job {job_id}: it never was, or it ended and keeps no result (any more)")


def timed_out(job_id: str, timeout: float | None) -> ResultTimeout:
    return ResultTimeout(f"job {job_id} did not end within {timeout} s; it goes on")
