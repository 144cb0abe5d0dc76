"""Names of jobs: ``<local>@<queue>``.

The local part of a generated id is 26 characters of Crockford's base 32, 48 bits of milliseconds before 80
random bits (the layout of a ULID), so ids sort by time and a job is found from its id alone: the queue's name
says where to look. Inside Redis a queue's keys hold the local part only.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import zlib

from ferryman.errors import InvalidOption

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = ["".join(pair) for pair in itertools.product(_ALPHABET, repeat=2)]
_QUEUE = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_SHARDED = re.compile(r"[A-Za-z0-9._-]{1,64}(#[0-9]{1,4})?\Z")
MOST_SHARDS = 1024
_LOCAL = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")

_random = random.Random(os.urandom(32))  # uniqueness, not secrecy; seeded from the system once a process


def _encode(number: int, characters: int) -> str:
    pairs = []
    for _ in range(characters // 2):
        pairs.append(_PAIRS[number & 1023])
        number >>= 10
    pairs.reverse()
    return "".join(pairs)


class _Sequence:
    """A process's ids: one random start, counted upwards, so ids of one moment sort as they were made."""

    __slots__ = ("count", "head", "start", "stem")

    def __init__(self) -> None:
        self.start = _random.getrandbits(69)  # of 70: counting up never carries out of the field
        self.count = itertools.count()
        # The parts that change seldom are kept encoded. Threads may race to renew them, to the same text.
        self.head = (-1, "")
        self.stem = (-1, "")


_sequence = _Sequence()
_pid = os.getpid()


def _reseed() -> None:
    """A forked child would otherwise go on with its parent's sequence and hand out the parent's ids."""
    global _sequence, _pid
    _random.seed(os.urandom(32))
    _sequence = _Sequence()
    _pid = os.getpid()


os.register_at_fork(after_in_child=_reseed)


def new_local(now_ms: int) -> str:
    """A new id's local part for a job enqueued at ``now_ms`` (server time)."""
    # uWSGI forks in C and by default calls no hooks: its processes handed out each other's ids.
    if os.getpid() != _pid:
        _reseed()
    sequence = _sequence
    number = next(sequence.count)
    moment, head = sequence.head
    if moment != now_ms:
        head = _encode(now_ms, 10)
        sequence.head = (now_ms, head)
    block, stem = sequence.stem
    if block != number >> 10:
        block = number >> 10
        stem = _encode(sequence.start + block, 14)
        sequence.stem = (block, stem)
    return head + stem + _PAIRS[number & 1023]


def new_locals(now_ms: int, count: int) -> list[str]:
    """`count` local parts in ascending order, from a random start of their own."""
    if os.getpid() != _pid:
        _reseed()
    found: list[str] = []
    head, start = _encode(now_ms, 10), _random.getrandbits(69)
    for block in range((count + 1023) // 1024):
        begin = head + _encode(start + block, 14)
        found.extend([begin + pair for pair in _PAIRS[: count - block * 1024]])
    return found


def time_of(local: str) -> int | None:
    """Milliseconds since the epoch in a generated id, or None for an id that the user chose."""
    if len(local) != 26 or not set(local) <= set(_ALPHABET):
        return None
    value = 0
    for character in local[:10]:
        value = value * 32 + _ALPHABET.index(character)
    return value


def base(queue: str) -> str:
    """The queue that a shard is a part of; of any other queue, its own name."""
    return queue.partition("#")[0]


def shard_of(local: str, shards: int) -> int:
    """The shard that an id of the user's own belongs to: always the same, so that it stays one job."""
    return zlib.crc32(local.encode()) % shards


def join(local: str, queue: str) -> str:
    return f"{local}@{queue}"


def split(job_id: str) -> tuple[str, str]:
    """``(local, queue)`` of a public id. Raises `InvalidOption` for anything that is no job id."""
    local, at, queue = job_id.rpartition("@") if isinstance(job_id, str) else ("", "", "")
    if not at or not _LOCAL.match(local) or not _SHARDED.match(queue):
        raise InvalidOption(f"{job_id!r} is no job id: it should read like '01K9ZX3V8Q2M7RTB5N6DPA4CEW@mail'")
    return local, queue


def check_local(local: str) -> str:
    """The user's own id for a job, checked. Raises `InvalidOption`."""
    if not isinstance(local, str) or not _LOCAL.match(local):
        raise InvalidOption(
            f"id {local!r} must be 1 to 128 characters of A-Z a-z 0-9 . _ : - (Ferryman adds the queue)"
        )
    return local


def check_queue(name: str) -> str:
    """A queue's name, checked. Raises `InvalidOption`."""
    if not isinstance(name, str) or not _QUEUE.match(name):
        raise InvalidOption(f"queue name {name!r} must be 1 to 64 characters of A-Z a-z 0-9 . _ -")
    return name
