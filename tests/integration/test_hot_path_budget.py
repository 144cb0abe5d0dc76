"""What a job costs in Python calls of ours, counted: the hot path must stay readable in one sitting.

Counted are the functions of `ferryman/`, `worker/` and nothing else, as the interpreter sees them called.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from ferryman import Ferryman
from ferryman.worker.inprocess import InProcessWorker
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / room) + "/" for room in ("ferryman", "worker"))

ENQUEUE_FUNCTIONS, ENQUEUE_FILES = 16, 10
WORKER_FUNCTIONS, WORKER_FILES = 20, 7
JOBS = 2000


class Calls:
    """Counts calls of our functions in every thread that starts after it, and in this one."""

    def __init__(self) -> None:
        self.by_code: Counter[CodeType] = Counter()
        self.on = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """What the interpreter calls for each call and return."""
        if event == "call" and self.on:
            self.by_code[frame.f_code] += 1

    def ours(self) -> dict[str, int]:
        """Our functions that were called, and how often: ``file:function``."""
        found: Counter[str] = Counter()
        for code, times in self.by_code.items():
            name = str(Path(code.co_filename).resolve())
            if name.startswith(OURS):
                found[f"{name.removeprefix(str(ROOT) + '/')}:{code.co_qualname}"] += times
        return dict(found)


def files(calls: dict[str, int]) -> set[str]:
    """The files of these functions."""
    return {name.partition(":")[0] for name in calls}


@pytest.fixture
def calls() -> Iterator[Calls]:
    """Counting, for this test's time."""
    counting = Calls()
    before = sys.getprofile()
    threading.setprofile(counting)
    sys.setprofile(counting)
    yield counting
    sys.setprofile(before)
    threading.setprofile(None)


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    """An app of this test's own on the shared server."""
    made = Ferryman(server.url, prefix=prefix)
    yield made
    made.close()


def _count_enqueue(app: Ferryman, calls: Calls) -> dict[str, int]:
    """Our calls in 100 enqueues that find everything warm."""

    @app.task
    def nothing(number: int) -> None: ...

    for number in range(10):  # connects, loads the script, learns the clock
        nothing.enqueue(number)
    calls.on = True
    for number in range(100):
        nothing.enqueue(number)
    calls.on = False
    return calls.ours()


def test_enqueue_stays_within_its_budget(app: Ferryman, calls: Calls) -> None:
    ours = _count_enqueue(app, calls)
    assert sum(ours.values()) / 100 <= ENQUEUE_FUNCTIONS, ours
    assert len(files(ours)) <= ENQUEUE_FILES, sorted(ours)


def test_a_worker_stays_within_its_budget_for_each_job(app: Ferryman, calls: Calls) -> None:
    done: list[int] = []

    @app.task
    def nothing(number: int) -> None:
        done.append(number)

    queue = app.queue("default")
    with InProcessWorker(app, threads=2):
        nothing.enqueue_many([(number,) for number in range(500)])
        wait_until(lambda: len(done) == 500, 30, "everything is warm")
        queue.pause()  # so that what is counted is the worker's work alone
        nothing.enqueue_many([(number,) for number in range(JOBS)])
        calls.on = True
        queue.resume()
        wait_until(lambda: len(done) == 500 + JOBS, 30)
        calls.on = False
    ours = calls.ours()
    each_job = {name: times for name, times in ours.items() if times >= JOBS // 2}
    total = sum(ours.values()) / JOBS
    assert len(each_job) <= WORKER_FUNCTIONS, each_job
    assert len(files(each_job)) <= WORKER_FILES, sorted(each_job)
    assert total <= WORKER_FUNCTIONS, f"{total:.1f} calls a job: {ours}"
