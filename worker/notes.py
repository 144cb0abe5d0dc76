"""Leaving and withdrawing what a worker process says of itself: one record with a TTL under its id."""

from __future__ import annotations

import time

from ferryman.notes import Doing, Note, decode, encode
from ferryman.store import Link, transitions
from ferryman.store.keys import FleetKeys

__all__ = ["Doing", "Note", "decode", "withdraw", "write"]


def write(link: Link, keys: FleetKeys, note: Note, ttl_s: float) -> None:
    """Leave the note for so long, and forget those whose time is over."""
    now_ms = int(time.time() * 1000)
    # Also into a full Redis: it is then that somebody wants to see who works.
    link.run(transitions.insist(keys.worker(note.id), "SET", encode(note), "PX", int(ttl_s * 1000)))
    link.run(transitions.insist(keys.fleet, "ZADD", now_ms + int(ttl_s * 1000), note.id))
    link.command("ZREMRANGEBYSCORE", keys.fleet, "-inf", now_ms - 1)


def withdraw(link: Link, keys: FleetKeys, worker_id: str) -> None:
    """The process has ended."""
    link.command("DEL", keys.worker(worker_id))
    link.command("ZREM", keys.fleet, worker_id)
