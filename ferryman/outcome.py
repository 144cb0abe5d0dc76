"""What an attempt came to. An attempt ends in exactly one of these values, and one function in the worker
turns it into a transition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


class AttemptRecord(msgspec.Struct, array_like=True, frozen=True):
    """One attempt of a job as it is kept for people: one that failed, crashed or was rejected."""

    number: int
    """1 for the first attempt. A crash repeats the number: it burns no attempt."""
    outcome: str
    """``failed``, ``timeout``, ``retry``, ``rejected``, ``crashed``, ``snoozed``."""
    worker: str
    started_ms: int
    """Server time, or 0 where nobody knows (a machine that died)."""
    duration_ms: int
    error: str
    """``package.module.ExceptionName: message``, cut to 1,000 characters."""
    traceback: str
    """The formatted traceback, cut to 16,000 characters from the middle."""
    fingerprint: str
    """Task, exception type and innermost frame of the user's own code, hashed: equal for failures with one
    cause.
    """


@dataclass(frozen=True, slots=True)
class Succeeded:
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised, timed out, rejected the job or asked for a retry; `error` says which."""

    error: BaseException
    kind: str = "failed"
    """As `AttemptRecord.outcome`."""


@dataclass(frozen=True, slots=True)
class Snoozed:
    delay_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The job ends without success and without an attempt being counted: ``expired`` or ``cancelled``."""

    state: str


@dataclass(frozen=True, slots=True)
class Released:
    """The attempt was broken off by a shutdown; the job goes back to the head of its queue, uncharged."""


Outcome = Succeeded | Failed | Snoozed | Ended | Released
