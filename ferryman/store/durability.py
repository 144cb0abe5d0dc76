"""What must be true of an enqueue before it returns: that Redis has it in memory, that replicas have it too,
or that it is on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from hiredis import pack_command

from ferryman.errors import InvalidOption

Level = Literal["replicated", "fsync"]
REPLICATED_S, FSYNC_S = 1.0, 3.0
_LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Durability:
    """How safe a job is when `enqueue` returns, past the default: that the server has it in memory.

    ``Durability.replicated(2)``: two replicas have it (``WAIT``), so it outlives the loss of the primary when
    one of them takes over. ``Durability.fsync()``: it is on the server's disk (``WAITAOF``; append-only file
    needed), so it outlives a power cut. Both cost a wait, not a round trip. Where a text is easier, as in the
    environment: ``"memory"``, ``"replicated"``, ``"replicated:2"``, ``"replicated:2:0.5"`` (seconds),
    ``"fsync"``, ``"fsync:10"`` (seconds), ``"fsync:10:1"`` (and on the disk of one replica).

    If the confirmation does not come within `timeout_s`, the enqueue raises `NotDurable`: the job is in the
    queue and may run; enqueueing it again under the same id is safe and asks for the confirmation again.
    """

    level: Level
    replicas: int
    """How many replicas must have it."""
    timeout_s: float

    def __post_init__(self) -> None:
        if self.level not in ("replicated", "fsync"):
            raise InvalidOption(f"durability {self.level!r} must be 'memory', 'replicated' or 'fsync'")
        least = 1 if self.level == "replicated" else 0
        if not isinstance(self.replicas, int) or not least <= self.replicas <= 100:
            raise InvalidOption(
                f"durability {self.level!r}: replicas={self.replicas!r} must be {least} to 100"
            )
        if not isinstance(self.timeout_s, int | float) or not 0.001 <= self.timeout_s <= _LONGEST_S:
            raise InvalidOption(
                f"durability {self.level!r}: timeout={self.timeout_s!r} must be 0.001 to {_LONGEST_S:g} s"
            )

    @classmethod
    def replicated(cls, replicas: int = 1, *, timeout: float = REPLICATED_S) -> Self:
        """`replicas` replicas must have received it within `timeout` seconds."""
        return cls("replicated", replicas, timeout)

    @classmethod
    def fsync(cls, *, timeout: float = FSYNC_S, replicas: int = 0) -> Self:
        """It must be on the disk of the server, and of so many replicas, within `timeout` seconds."""
        return cls("fsync", replicas, timeout)

    @classmethod
    def of(cls, value: Durability | str | None) -> Durability | None:
        """As an option or a setting says it; None for what is the default. Raises `InvalidOption`."""
        if value is None or isinstance(value, Durability):
            return value
        if not isinstance(value, str):
            raise InvalidOption(f"durability={value!r} must be a text or a Durability")
        level, *numbers = value.strip().split(":")
        try:
            if level == "memory" and not numbers:
                return None
            if level == "replicated" and len(numbers) <= 2:
                count = int(numbers[0]) if numbers else 1
                return cls.replicated(count, timeout=float(numbers[1]) if len(numbers) > 1 else REPLICATED_S)
            if level == "fsync" and len(numbers) <= 2:
                seconds = float(numbers[0]) if numbers else FSYNC_S
                return cls.fsync(timeout=seconds, replicas=int(numbers[1]) if len(numbers) > 1 else 0)
        except ValueError:
            pass
        raise InvalidOption(
            f"durability {value!r} must read like 'memory', 'replicated', 'replicated:2', 'replicated:2:0.5' "
            "(seconds) or 'fsync'"
        )

    def __str__(self) -> str:
        numbers = (
            (self.replicas, self.timeout_s) if self.level == "replicated" else (self.timeout_s, self.replicas)
        )
        return ":".join((self.level, *(f"{number:g}" for number in numbers)))

    @property
    def request(self) -> bytes:
        """The command that waits for it, on the connection that wrote; as it goes over the wire."""
        timeout_ms = max(int(self.timeout_s * 1000), 1)
        words: Any = ("WAITAOF", 1) if self.level == "fsync" else ("WAIT",)
        packed: bytes = pack_command((*words, self.replicas, timeout_ms))
        return packed

    def missing(self, reply: Any) -> str:
        """What the reply to `request` falls short of; empty if of nothing."""
        if isinstance(reply, Exception):  # the server became a replica while it waited, or before it could
            return f"it would not wait for the confirmation: {reply}"
        on_disk, replicas = (True, reply) if self.level == "replicated" else (reply[0] >= 1, reply[1])
        within = f"within {self.timeout_s:g} s"
        if not on_disk:
            return f"the server had not written it to disk {within}"
        if replicas < self.replicas:
            return f"{replicas} of {self.replicas} replicas had confirmed it {within}"
        return ""
