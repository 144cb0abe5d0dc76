"""What the jobs of every system write to, so that all are observed in the same way.

A memory-mapped file, shared by the harness, the producer and every worker process. It costs a job about half
a microsecond and no system call, so it takes the same from the fastest system as from the slowest. Standard
library only: this module is imported inside every rival's environment.

Layout, in unsigned 64-bit words: a header, then one *slot* for each worker thread that ran a job (jobs done,
first and last moment, pid, parent's pid; only that thread writes it, so no lock is needed), then the latency
*samples* (when sent, when started). Moments are `time.monotonic_ns()`, one clock for
all processes of a machine.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns

ENVIRONMENT_VARIABLE = "FERRYMAN_BENCH_PROBE"

SLOTS = 65_536
SAMPLES = 65_536
_HEADER = 8
_SLOT = 8
_SAMPLE = 2
_SAMPLES_AT = _HEADER + SLOTS * _SLOT
_WORDS = _SAMPLES_AT + SAMPLES * _SAMPLE
_USED = 0


def _map(path: str) -> memoryview:
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


# The side of the jobs and of the producer.

_thread = threading.local()
_claiming = threading.Lock()
_path = os.environ.get(ENVIRONMENT_VARIABLE, "")
_words = _map(_path) if _path else memoryview(bytearray(_WORDS * 8)).cast("Q")


def _forget_slots() -> None:
    global _thread, _claiming
    _thread, _claiming = threading.local(), threading.Lock()


os.register_at_fork(after_in_child=_forget_slots)


def _claim() -> int:
    with _claiming, open(_path or os.devnull, "rb") as file:
        # A descriptor of its own: forked siblings share the inherited one, and with it the lock.
        fcntl.flock(file, fcntl.LOCK_EX)
        number = _words[_USED] % SLOTS
        slot = _HEADER + number * _SLOT
        _words[slot + 3] = os.getpid()
        _words[slot + 4] = os.getppid()
        _words[_USED] += 1
    _thread.slot = slot
    return slot


def done() -> None:
    """Count one job as run by this thread."""
    try:
        slot: int = _thread.slot
    except AttributeError:
        slot = _claim()
    now = monotonic_ns()
    if not _words[slot]:
        _words[slot + 1] = now
    _words[slot + 2] = now
    _words[slot] += 1


def sent(index: int) -> None:
    """Note that the sample's job is about to be enqueued."""
    _words[_SAMPLES_AT + index * _SAMPLE] = monotonic_ns()


def started(index: int) -> None:
    """Note that the sample's job has begun, and count it."""
    _words[_SAMPLES_AT + index * _SAMPLE + 1] = monotonic_ns()
    done()


# The harness's side.


@dataclass(frozen=True)
class Tally:
    """Jobs run so far, and the moments (ns) of the first and the last of them; zero moments if none ran."""

    jobs: int
    first_ns: int
    last_ns: int

    @property
    def seconds(self) -> float:
        """From the first job to the last."""
        return (self.last_ns - self.first_ns) / 1e9


class Probe:
    """The harness's view of the shared file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("wb") as file:
            file.truncate(_WORDS * 8)
        self._words = _map(str(path))

    def _column(self, offset: int) -> memoryview:
        used = min(self._words[_USED], SLOTS)
        return self._words[_HEADER + offset : _HEADER + offset + used * _SLOT : _SLOT]

    def count(self) -> int:
        """Jobs run so far."""
        return sum(self._column(0))

    def tally(self) -> Tally:
        """Jobs run so far, with the first and last moment."""
        counts = self._column(0).tolist()
        first = [at for at, count in zip(self._column(1).tolist(), counts, strict=True) if count]
        last = [at for at, count in zip(self._column(2).tolist(), counts, strict=True) if count]
        return Tally(sum(counts), min(first, default=0), max(last, default=0))

    def processes(self, *, parents: bool) -> set[int]:
        """Pids of the processes that have run a job; of their parents, where each job has its own process."""
        return set(self._column(4 if parents else 3).tolist())

    def zero(self) -> None:
        """Forget what was counted. Only while no job can run (the workers are paused)."""
        for number in range(min(self._words[_USED], SLOTS)):
            slot = _HEADER + number * _SLOT
            self._words[slot] = self._words[slot + 1] = self._words[slot + 2] = 0

    def delays_ns(self, count: int) -> list[int | None]:
        """Sent-to-started time of each of the first `count` samples; None where the job has not started."""
        pairs = self._words[_SAMPLES_AT : _SAMPLES_AT + count * _SAMPLE].tolist()
        return [
            begun - at if begun and at else None for at, begun in zip(pairs[::2], pairs[1::2], strict=True)
        ]
