"""Who is killed by the supervisor, and who is not."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from ferryman.worker.board import PROGRESS, Board, Entry
from ferryman.worker.child import Child
from ferryman.worker.warden import Warden

STALL_S = 10.0


class FakeChild:
    """A child of which only the board is real."""

    def __init__(self) -> None:
        self.board = Board.private(4)
        self.ready = True
        self.stopped = False
        self.condemned = ""
        self.overdue: list[Entry] = []

    def progress_ns(self) -> int:
        return int(self.board.words[PROGRESS])

    def kill(self, why: str) -> None:
        self.condemned = why


def seconds_ago(seconds: float) -> int:
    return time.monotonic_ns() - int(seconds * 1e9)


def look(child: Any, reached_ns: int) -> None:
    Warden(STALL_S).look([cast("Child", child)], reached_ns)


def test_a_job_past_its_hard_limit_costs_its_process_its_life() -> None:
    child = FakeChild()
    child.board.write(0, b"in-time", 0, seconds_ago(1), time.monotonic_ns() + 10**9)
    child.board.write(1, b"no-limit", 0, seconds_ago(999), 0)
    look(child, 0)
    assert not child.condemned
    child.board.write(2, b"late", 0, seconds_ago(9), seconds_ago(1))
    look(child, 0)
    assert [entry.local for entry in child.overdue] == [b"late"]
    assert "timeout" in child.condemned


@pytest.mark.parametrize(
    "ago, reachable, ready, stopped, dies",
    [
        (60, 60, True, False, True),
        (5, 60, True, False, False),
        (60, 5, True, False, False),  # Redis has only just come back: let it find its way, too
        (60, 60, False, False, False),
        (60, 60, True, True, False),
    ],
)
def test_a_process_that_reaches_redis_no_more_is_replaced_only_if_others_do(
    ago: float, reachable: float, ready: bool, stopped: bool, dies: bool
) -> None:
    child = FakeChild()
    child.ready, child.stopped = ready, stopped
    child.board.words[PROGRESS] = seconds_ago(ago)
    look(child, seconds_ago(reachable))
    assert bool(child.condemned) is dies


def test_while_the_supervisor_itself_cannot_reach_redis_nobody_is_blamed() -> None:
    child = FakeChild()
    child.board.words[PROGRESS] = seconds_ago(999)
    look(child, 0)
    assert not child.condemned
