"""What a worker process runs at this moment, in memory that its supervisor reads.

The supervisor must know which jobs were running when a process dies, and which job has run past its limit
when a process is stuck in C code and can tell nobody. So each slot writes, for each job, its id, its start
and its deadline into memory that both have mapped. That costs a fraction of a microsecond a job, no system
call, and no cooperation of the interpreter at the moment of trouble.

Layout: a header, then one entry a slot, threads first. Numbers are native 64-bit integers.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import NamedTuple

_WORD = 8
_HOLDER_AT, _HOLDER_BYTES = 256, 256
HEADER = 512
ENTRY = 192
LOCAL_AT = 64
LOCAL_BYTES = 128

# Words of the header
STATE, PROGRESS, DONE, FAILED, RSS, GENERATION, HOLDER_LENGTH, NEWEST, LEFT, READS = range(10)
# Words of an entry
STARTED, DEADLINE, QUEUE, LENGTH = range(4)

STARTING, RUNNING, QUIET, DRAINING = range(4)
STATES = ("starting", "running", "quiet", "draining")


class Entry(NamedTuple):
    """What one slot runs."""

    slot: int
    local: bytes
    queue: int
    started_ns: int
    deadline_ns: int
    """When the process must be taken down for it; 0: never."""


class Board:
    """The memory of one process, as both sides see it. All times are monotonic, which processes of one
    machine share.
    """

    def __init__(self, memory: mmap.mmap | bytearray, slots: int) -> None:
        self.slots = slots
        self._memory = memory
        self.bytes = memoryview(memory)
        self.words = self.bytes.cast("q")

    @classmethod
    def private(cls, slots: int) -> Board:
        """A board that no other process reads."""
        return cls(bytearray(size_for(slots)), slots)

    @classmethod
    def shared(cls, slots: int) -> tuple[Board, int]:
        """A new board, and the file descriptor that a child maps it with."""
        fd = _anonymous_file()
        os.ftruncate(fd, size_for(slots))
        return cls.of(fd, slots), fd

    @classmethod
    def of(cls, fd: int, slots: int) -> Board:
        """The board behind a file descriptor."""
        return cls(mmap.mmap(fd, size_for(slots)), slots)

    def close(self) -> None:
        """Unmap it."""
        self.words.release()
        self.bytes.release()
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()

    # -- the process's side ----------------------------------------------------------------------------------

    def places(self, slot: int) -> tuple[int, int]:
        """Where a slot's entry is: its first word, and the first byte of the id. A slot writes there by
        itself, since a call would cost it more than the writing."""
        first = HEADER + slot * ENTRY
        return first // _WORD, first + LOCAL_AT

    def write(self, slot: int, local: bytes, queue: int, started_ns: int, deadline_ns: int) -> None:
        """A slot begins a job. The start goes last: an entry without it is an idle slot."""
        word, byte = self.places(slot)
        words = self.words
        words[word] = 0
        self.bytes[byte : byte + len(local)] = local
        words[word + LENGTH] = len(local)
        words[word + QUEUE] = queue
        words[word + DEADLINE] = deadline_ns
        words[word] = started_ns

    def clear(self, slot: int) -> None:
        """A slot is idle."""
        self.words[self.places(slot)[0]] = 0

    def set_holder(self, holder: str) -> None:
        """Tell under which name the process holds jobs from now on."""
        name = holder.encode()[:_HOLDER_BYTES]
        self.words[HOLDER_LENGTH] = 0
        self.bytes[_HOLDER_AT : _HOLDER_AT + len(name)] = name
        self.words[GENERATION] += 1
        self.words[HOLDER_LENGTH] = len(name)

    # -- the supervisor's side -------------------------------------------------------------------------------

    def holder(self) -> str:
        """The name under which the process holds jobs; '' if it has none yet."""
        while True:
            generation = self.words[GENERATION]
            length = self.words[HOLDER_LENGTH]
            name = bytes(self.bytes[_HOLDER_AT : _HOLDER_AT + length])
            if generation == self.words[GENERATION]:
                return name.decode(errors="replace")

    def running(self) -> list[Entry]:
        """What runs. An entry that is just being rewritten may be missing; no entry is ever half of one job
        and half of another.
        """
        found = []
        for slot in range(self.slots):
            entry = self._entry(slot)
            if entry is not None:
                found.append(entry)
        return found

    def _entry(self, slot: int) -> Entry | None:
        word, byte = self.places(slot)
        words = self.words
        started = words[word]
        if not started:
            return None
        local = bytes(self.bytes[byte : byte + words[word + LENGTH]])
        entry = Entry(slot, local, words[word + QUEUE], started, words[word + DEADLINE])
        return entry if words[word] == started else None


def size_for(slots: int) -> int:
    """Bytes of a board."""
    return HEADER + slots * ENTRY


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ferryman-board", os.MFD_CLOEXEC)
    fd, path = tempfile.mkstemp(prefix="ferryman-board-")
    os.unlink(path)
    return fd
