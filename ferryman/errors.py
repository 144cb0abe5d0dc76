"""Every error Ferryman raises, on one page.

What the user can mend (`ConfigurationError`, `InvalidArguments`, ...), what will pass (`StoreUnavailable`),
what became of a job (`JobFailed`, `JobDead`, ...). Signals that a task raises on purpose live in
`ferryman.retry`, those raised *into* a task in `ferryman.context`. Each class carries a stable ``code`` for
logs, exit messages and the JSON API.
"""

from __future__ import annotations

from typing import ClassVar


class FerrymanError(Exception):
    """Root of everything Ferryman raises."""

    code: ClassVar[str] = "error"


# -- what the user can mend ----------------------------------------------------------------------------------


class ConfigurationError(FerrymanError):
    """A setting, URL or definition that cannot work; the message names it and says what is allowed."""

    code = "configuration"


class UnknownTask(FerrymanError, LookupError):
    """No task of that name is registered with this app."""

    code = "unknown_task"


class InvalidArguments(FerrymanError, TypeError):
    """The arguments do not fit the task's signature or cannot travel; nothing was enqueued."""

    code = "invalid_arguments"


class InvalidOption(FerrymanError, ValueError):
    """An option of a task or a call is out of its bounds (a naive datetime, a negative delay); nothing was
    enqueued.
    """

    code = "invalid_option"


class PayloadTooLarge(FerrymanError, ValueError):
    """The encoded job, or its result, is larger than the app's payload limit."""

    code = "payload_too_large"


class PayloadCorrupt(FerrymanError, ValueError):
    """Bytes in Redis that are no envelope, arguments or result of ours, or whose signature does not match."""

    code = "payload_corrupt"


class UnsupportedVersion(FerrymanError):
    """The job was written by a newer Ferryman; it must wait for a worker that can read it."""

    code = "unsupported_version"

    def __init__(self, message: str, version: int = 0) -> None:
        super().__init__(message)
        self.version = version
        """The version of the job's envelope."""


# -- the store -----------------------------------------------------------------------------------------------


class StoreError(FerrymanError):
    """Redis answered, and the answer was an error."""

    code = "store"
    enqueued: int = 0
    """Of a bulk enqueue: how many jobs had been handed over before the error."""
    is_unknown_command: bool = False
    """Whether the server does not know the command at all."""


class StoreUnavailable(StoreError):
    """Redis cannot be reached or did not answer in time. It may or may not have received the request;
    retrying is safe.
    """

    code = "store_unavailable"


class StoreFull(StoreError):
    """Redis is at its memory limit and refuses new jobs; nothing was enqueued by this call. Running jobs
    still finish.
    """

    code = "store_full"


class NotDurable(StoreError):
    """The job is in its queue and may run, but the durability that was asked for was not confirmed in time.

    To enqueue it again under the same id (``options(id=...)``; `job_ids` has it) is safe: it is not enqueued
    twice, and its durability is asked for once more.
    """

    code = "not_durable"
    job_ids: tuple[str, ...] = ()


class StoreDenied(StoreError):
    """Redis refused the login or a command (wrong password, ACL), or one side the other's certificate."""

    code = "store_denied"


class StoreCorrupt(StoreError):
    """A key holds something that Ferryman did not put there (wrong type)."""

    code = "store_corrupt"


class StoreIncompatible(StoreError):
    """The keys under this prefix were laid out by another release of Ferryman, with which this one cannot
    share them.
    """

    code = "store_incompatible"


# -- jobs ----------------------------------------------------------------------------------------------------


class JobNotFound(FerrymanError, LookupError):
    """No trace of the job: it never was, it ended and kept no result, or its result's time is over."""

    code = "job_not_found"


class WorkerNotFound(FerrymanError, LookupError):
    """No worker or supervisor of that name is at work."""

    code = "worker_not_found"


class ScheduleNotFound(FerrymanError, LookupError):
    """There is no schedule of that name."""

    code = "schedule_not_found"


class NoResult(FerrymanError):
    """The task keeps no results, so there is nothing to wait for."""

    code = "no_result"


class ResultTimeout(FerrymanError, TimeoutError):
    """The job did not end within the time that the caller was ready to wait. The job itself goes on."""

    code = "result_timeout"


class JobError(FerrymanError):
    """The job ended, and not with success. Carries its id and, where there is one, the attempt's error."""

    code = "job"

    def __init__(self, message: str, *, job_id: str = "", error: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id
        self.error = error
        self.traceback = traceback


class JobFailed(JobError):
    """Every attempt failed, or the task rejected the job: it is dead and waits for a person."""

    code = "job_failed"


class JobCancelled(JobError):
    """Somebody cancelled the job."""

    code = "job_cancelled"


class JobExpired(JobError):
    """No worker took the job before its ``expires``."""

    code = "job_expired"


class WorkerLost(JobError):
    """The job's worker died under it more often than allowed, so the job is dead."""

    code = "worker_lost"


class LeaseLost(FerrymanError):
    """This worker's lease lapsed and its jobs went to others. Internal: never shown to a task."""

    code = "lease_lost"
