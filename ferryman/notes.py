"""What a worker process says of itself, for ``ferryman workers`` and the dashboard."""

from __future__ import annotations

import msgspec


class Doing(msgspec.Struct, array_like=True, frozen=True):
    """What one slot runs."""

    job: str
    """Public id."""
    since_s: float
    """For how long."""


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """One worker process. The record in Redis is a msgpack map of these names."""

    id: str
    """The name under which it holds jobs."""
    host: str
    pid: int
    supervisor: int
    """Its supervisor's process id; its own for a worker inside another program."""
    state: str
    """``starting``, ``running``, ``quiet``, ``draining``, ``stopped`` (SIGSTOP) or ``stalled``."""
    queues: list[str]
    threads: int
    concurrency: int
    started_ms: int
    """By the host's clock."""
    noted_ms: int = 0
    """By the host's clock."""
    done: int = 0
    failed: int = 0
    rss: int = 0
    """Resident memory in bytes."""
    heard_s: float = 0.0
    """How long ago it last reached Redis."""
    doing: list[Doing] = []
    supervisor_id: str = ""
    """The name under which its supervisor takes orders."""
    release: str = ""
    """The release of Ferryman that its supervisor runs."""
    reads: int = 0
    """The newest version of envelopes that it reads."""
    newest_met: int = 0
    """The newest version that it has met and cannot read; 0: none."""
    left: int = 0
    """How often it has left such a job to newer workers."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Note)

encode = _encoder.encode


def decode(record: bytes) -> Note:
    """The note in `record`. Raises `msgspec.MsgspecError`."""
    return _decoder.decode(record)
