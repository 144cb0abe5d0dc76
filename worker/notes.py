"""What a worker process says of itself, for ``ferryman workers`` and the dashboard: one record with a TTL
under its id.
"""

from __future__ import annotations

import time

import msgspec

from ferryman.store import Link, transitions
from ferryman.store.keys import FleetKeys


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


def decode(record: bytes) -> Note:
    """The note in `record`. Raises `msgspec.MsgspecError`."""
    return _decoder.decode(record)


def write(link: Link, keys: FleetKeys, note: Note, ttl_s: float) -> None:
    """Leave the note for so long, and forget those whose time is over."""
    now_ms = int(time.time() * 1000)
    # Also into a full Redis: it is then that somebody wants to see who works.
    link.run(transitions.insist(keys.worker(note.id), "SET", _encoder.encode(note), "PX", int(ttl_s * 1000)))
    link.run(transitions.insist(keys.fleet, "ZADD", now_ms + int(ttl_s * 1000), note.id))
    link.command("ZREMRANGEBYSCORE", keys.fleet, "-inf", now_ms - 1)


def withdraw(link: Link, keys: FleetKeys, worker_id: str) -> None:
    """The process has ended."""
    link.command("DEL", keys.worker(worker_id))
    link.command("ZREM", keys.fleet, worker_id)
