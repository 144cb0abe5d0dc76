"""Threads and their interrupts, without a server."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from ferryman import Ferryman, envelope
from ferryman.execution import Attempt
from ferryman.interrupts import ShuttingDown, TimeLimit
from ferryman.worker.board import Board
from ferryman.worker.clock import ServerClock
from ferryman.worker.deadlines import Deadlines
from ferryman.worker.handover import Handover
from ferryman.worker.slots import Slot
from tests.support.waiting import wait_until

EMPTY = msgspec.Raw(b"\x90")


class Threads:
    """Slots with nothing behind them."""

    def __init__(self, count: int) -> None:
        self.app = Ferryman("memory://")
        self.handover = Handover()
        self.board = Board.private(count)
        self.deadlines = Deadlines()
        self.slots = [
            Slot(number, self.handover, self.board, self.deadlines, ServerClock(), {"default": 0}, 0)
            for number in range(count)
        ]
        self.deadlines.watch(self.slots)
        for slot in self.slots:
            slot.start()

    def attempt(self, fn: Callable[[], object], timeout: float | None = None) -> Attempt:
        """An attempt of a task of its own."""
        name = f"task-{len(self.app.tasks)}"
        task = self.app.tasks.get(fn.__name__) or self.app.task(name=name, timeout=timeout, retry=None)(fn)
        letter = envelope.Envelope(1, task.name, EMPTY, envelope.NO_KWARGS, 0)
        return Attempt(self.app, task, letter, name.encode(), "default", 0, "me")

    def close(self) -> None:
        self.handover.close()
        self.deadlines.stop()
        assert all(slot.join(5) for slot in self.slots)
        self.handover.dispose()


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(4)
    yield made
    made.close()


def test_every_attempt_that_is_offered_is_done_once(threads: Threads) -> None:
    ran: list[int] = []
    attempts = [threads.attempt(lambda: ran.append(1)) for _ in range(500)]
    for first in range(0, 500, 7):
        threads.handover.offer(attempts[first : first + 7])
    wait_until(lambda: len(threads.handover.done) == 500)
    assert {attempt for attempt, _ in threads.handover.done} == set(attempts)
    assert len(ran) == 500


def test_blocking_jobs_spread_over_all_threads(threads: Threads) -> None:
    barrier = threading.Barrier(4, timeout=5)
    threads.handover.offer([threads.attempt(lambda: barrier.wait() and None) for _ in range(4)])
    wait_until(lambda: len(threads.handover.done) == 4)
    assert {settled.way for _, settled in threads.handover.done} == {"ack"}


def test_an_interrupt_hits_the_attempt_that_is_late_and_never_the_next_one(threads: Threads) -> None:
    """Deadlines fall exactly where attempts end, so every place between two jobs is hit some time."""
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        limited, free = [], []
        for _ in range(400):
            pause = random.uniform(0.0005, 0.0015)
            limited.append(threads.attempt(lambda pause=pause: time.sleep(pause), timeout=0.001))  # type: ignore[misc]
            free.append(threads.attempt(lambda: sum(range(200)) and None))
        threads.handover.offer([one for pair in zip(limited, free, strict=True) for one in pair])
        wait_until(lambda: len(threads.handover.done) == 800, 30)
    finally:
        sys.setswitchinterval(switch)
    ways = {attempt: settled.way for attempt, settled in threads.handover.done}
    assert {ways[attempt] for attempt in free} == {"ack"}
    assert {ways[attempt] for attempt in limited} <= {"ack", "bury"}
    assert any(ways[attempt] == "bury" for attempt in limited)
    assert threads.board.running() == []


def test_a_thread_can_be_traced_after_interrupts(threads: Threads) -> None:
    """An interrupt that was taken back would leave CPython 3.11 in a state in which a traced thread never
    goes on.
    """
    for _ in range(100):
        pause = random.uniform(0.0008, 0.0012)
        threads.handover.offer([threads.attempt(lambda pause=pause: time.sleep(pause), timeout=0.001)])  # type: ignore[misc]
    wait_until(lambda: len(threads.handover.done) == 100, 30)
    calls: list[str] = []
    threading.setprofile(lambda *_: calls.append("call"))
    try:
        traced = threading.Thread(target=lambda: None, daemon=True)
        traced.start()
        traced.join(5)
    finally:
        threading.setprofile(None)
    assert not traced.is_alive()
    assert len(calls) < 100


def test_an_attempt_that_swallows_its_time_limit_and_returns_has_succeeded(threads: Threads) -> None:
    def partial() -> None:
        try:
            while True:
                time.sleep(0.001)
        except TimeLimit:
            return

    threads.handover.offer([threads.attempt(partial, timeout=0.05)])
    wait_until(lambda: threads.handover.done)
    assert threads.handover.done[0][1].way == "ack"


def test_a_shutdown_breaks_off_an_attempt_uncharged(threads: Threads) -> None:
    def endless() -> None:
        while True:
            time.sleep(0.001)

    attempt = threads.attempt(endless)
    threads.handover.offer([attempt])
    slot = wait_until(lambda: next((one for one in threads.slots if one.current is attempt), None))
    assert slot is not None
    slot.interrupt(attempt, ShuttingDown)
    wait_until(lambda: threads.handover.done)
    assert threads.handover.done[0][1].way == "release"


def test_an_interrupt_for_an_attempt_that_is_over_does_nothing(threads: Threads) -> None:
    over = threads.attempt(lambda: None)
    threads.handover.offer([over])
    wait_until(lambda: threads.handover.done)
    for slot in threads.slots:
        slot.interrupt(over, TimeLimit)
    threads.handover.offer([threads.attempt(lambda: None) for _ in range(20)])
    wait_until(lambda: len(threads.handover.done) == 21)
    assert {settled.way for _, settled in threads.handover.done} == {"ack"}
