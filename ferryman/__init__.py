"""Ferryman carries work from a Python application to a fleet of workers, through Redis, and loses none of it.

from ferryman import Ferryman

app = Ferryman("redis://localhost:6379/0")

@app.task(queue="mail")
def send_welcome(user_id: int) -> str: ...

job = send_welcome.enqueue(42)
"""

from importlib.metadata import version

# The app and what it hands out
from ferryman.app import Ferryman
from ferryman.context import JobContext, Tick, current_job

# What can go wrong
from ferryman.errors import (
    ConfigurationError,
    FerrymanError,
    InvalidArguments,
    InvalidOption,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobNotFound,
    NoResult,
    NotDurable,
    PayloadCorrupt,
    PayloadTooLarge,
    ResultTimeout,
    ScheduleNotFound,
    StoreCorrupt,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreIncompatible,
    StoreUnavailable,
    UnknownTask,
    UnsupportedVersion,
    WorkerLost,
    WorkerNotFound,
)
from ferryman.job import Cancellation, Job, JobInfo
from ferryman.producer import EnqueueRequest
from ferryman.queue import Queue, QueueInfo

# What a task says of its own job
from ferryman.retry import Reject, Retry, Snooze
from ferryman.settings import Settings
from ferryman.store import Durability
from ferryman.task import Task
from ferryman.workers import Answer, Workers

__version__ = version("ferryman")

__all__ = [
    "Answer",
    "Cancellation",
    "ConfigurationError",
    "Durability",
    "EnqueueRequest",
    "Ferryman",
    "FerrymanError",
    "InvalidArguments",
    "InvalidOption",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobInfo",
    "JobNotFound",
    "NoResult",
    "NotDurable",
    "PayloadCorrupt",
    "PayloadTooLarge",
    "Queue",
    "QueueInfo",
    "Reject",
    "ResultTimeout",
    "Retry",
    "ScheduleNotFound",
    "Settings",
    "Snooze",
    "StoreCorrupt",
    "StoreDenied",
    "StoreError",
    "StoreFull",
    "StoreIncompatible",
    "StoreUnavailable",
    "Task",
    "Tick",
    "UnknownTask",
    "UnsupportedVersion",
    "WorkerLost",
    "WorkerNotFound",
    "Workers",
    "current_job",
]
