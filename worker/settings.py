"""How a worker is to run: what ``ferryman worker`` was asked for, checked."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

from ferryman import ids
from ferryman.errors import ConfigurationError, InvalidOption


class Share(NamedTuple):
    """A queue to work on, and its weight; 0: none was given."""

    queue: str
    weight: int = 0


def parse_queues(text: str) -> tuple[Share, ...]:
    """The queues in ``critical,mail:3,default``. Without weights the order is strict; with any, queues
    without one weigh 1.

    Raises `ConfigurationError`.
    """
    found: list[Share] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, weight = part.partition(":")
        try:
            ids.check_queue(name)
        except InvalidOption as error:
            raise ConfigurationError(str(error)) from None
        if colon and not (weight.isdigit() and 1 <= int(weight) <= 1000):
            raise ConfigurationError(f"queue {part!r}: the weight must be a whole number from 1 to 1000")
        if any(share.queue == name for share in found):
            raise ConfigurationError(f"queue {name!r} is named twice")
        found.append(Share(name, int(weight) if colon else 0))
    return tuple(found)


@dataclass(frozen=True)
class WorkerSettings:
    """What a fleet of worker processes on one machine is to do."""

    app: str
    """``module`` or ``module:attribute`` of the `Ferryman` app."""
    queues: tuple[Share, ...] = ()
    """Queues in order of precedence, or with weights; none: every queue that a registered task names."""
    processes: int = 1
    threads: int = 8
    """For sync tasks, in each process."""
    concurrency: int = 100
    """Async tasks at a time, in each process."""
    grace_s: float = 25.0
    """After a signal to end: how long running jobs may go on."""
    max_jobs: int = 0
    """A process is replaced after about so many jobs; 0: never."""
    max_memory_mb: int = 0
    """A process is replaced when it is larger than that; 0: never."""
    burst: bool = False
    """End when there is nothing left to run now."""
    name: str = ""
    """What the holder's name begins with; the host's name if not given."""
    log_level: str = "info"
    log_format: Literal["auto", "human", "json"] = "auto"

    def __post_init__(self) -> None:
        for field, low, high in (
            ("processes", 1, 1024), ("threads", 0, 1000), ("concurrency", 0, 100_000), ("grace_s", 0, 86_400),
            ("max_jobs", 0, 10**12), ("max_memory_mb", 0, 10**7),
        ):  # fmt: skip
            value = getattr(self, field)
            if not low <= value <= high:
                raise ConfigurationError(f"worker setting {field}={value!r} must be from {low} to {high}")
        if not self.threads and not self.concurrency:
            raise ConfigurationError("a worker needs threads or concurrency: both are 0")

    def to_json(self) -> str:
        """For a child process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerSettings:
        """What `to_json` wrote."""
        plain = json.loads(text)
        plain["queues"] = tuple(Share(*share) for share in plain["queues"])
        return cls(**plain)


def check_platform() -> None:
    """Raises `ConfigurationError` where workers cannot run."""
    if os.name != "posix":
        raise ConfigurationError(
            "workers need Linux or macOS: Windows has no signals that could end a job in good order. "
            "Run them in WSL or a container; enqueueing works on Windows"
        )
