"""What a test learns of the jobs that ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ferryman.job import Job
from ferryman.outcome import Ended, Failed, Outcome, Succeeded

Became = Literal["succeeded", "retried", "snoozed", "dead", "expired", "cancelled", "requeued"]


@dataclass(frozen=True)
class Run:
    """One attempt of a job, and what it came to."""

    job: Job[Any]
    task: str
    attempt: int
    """1 for the first."""
    became: Became
    """What became of the job: it ended (``succeeded``, ``dead``, ``expired``, ``cancelled``), has another
    attempt before it (``retried``), was put off by its task (``snoozed``) or went back because its worker was
    lost (``requeued``).
    """
    outcome: Outcome | None = field(repr=False)
    """As the worker's own code decides it; None where the worker was lost."""
    args: tuple[Any, ...] = ()
    """What the task was given, after its way through the store; empty where it could not be read."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """What the task returned, as it left the function; None unless it succeeded."""
        return self.outcome.value if isinstance(self.outcome, Succeeded) else None

    @property
    def error(self) -> BaseException | None:
        """What the task raised, if the attempt failed: a `Retry` or `Reject` raised on purpose, too."""
        return self.outcome.error if isinstance(self.outcome, Failed) else None

    @property
    def is_failure(self) -> bool:
        """Whether the attempt failed, other than by asking for a retry that it was granted."""
        return isinstance(self.outcome, Failed) and not (
            self.outcome.kind == "retry" and self.became == "retried"
        )


@dataclass(frozen=True)
class Drained:
    """What was run, attempt by attempt, in order."""

    runs: tuple[Run, ...]

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        counted = (
            f"{name}={getattr(self, name)}"
            for name in ("succeeded", "retried", "snoozed", "dead", "expired", "cancelled", "requeued")
            if getattr(self, name)
        )
        return f"<Drained {' '.join(counted) or 'nothing'}>"

    def _count(self, became: Became) -> int:
        return sum(run.became == became for run in self.runs)

    @property
    def succeeded(self) -> int:
        """Jobs that succeeded."""
        return self._count("succeeded")

    @property
    def failed(self) -> int:
        """Attempts that failed, whether or not another follows; not those that asked for a retry."""
        return sum(run.is_failure for run in self.runs)

    @property
    def retried(self) -> int:
        """Attempts that are followed by another, later."""
        return self._count("retried")

    @property
    def snoozed(self) -> int:
        """Attempts that put their job off."""
        return self._count("snoozed")

    @property
    def dead(self) -> int:
        """Jobs that died."""
        return self._count("dead")

    @property
    def expired(self) -> int:
        """Jobs that were not run because their time was over."""
        return self._count("expired")

    @property
    def cancelled(self) -> int:
        """Jobs that were cancelled while they ran."""
        return self._count("cancelled")

    @property
    def requeued(self) -> int:
        """Jobs that went back because their worker was lost."""
        return self._count("requeued")

    @property
    def errors(self) -> list[BaseException]:
        """What the failed attempts raised, in order."""
        return [run.error for run in self.runs if run.is_failure and run.error is not None]


def settled_as(way: str, outcome: Outcome) -> Became:
    """What became of a job, by the way its settlement took."""
    ways: dict[str, Became] = {"retry": "retried", "snooze": "snoozed", "bury": "dead", "release": "requeued"}
    if way in ways:
        return ways[way]
    if isinstance(outcome, Ended):
        return "cancelled" if outcome.state == "cancelled" else "expired"
    return "succeeded"
