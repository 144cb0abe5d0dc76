"""Who is killed by the supervisor, and who is not."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from ferryman.worker.board import PROGRESS, Board, Entry
from ferryman.worker.child import Child
from ferryman.worker.warden import Warden

STALL_S = 10.0
KILL_AFTER_S = 2.0


class FakeChild:
    """A child of which only the board is real."""

    def __init__(self) -> None:
        self.board = Board.private(4)
        self.ready = True
        self.stopped = False
        self.condemned = ""
        self.overdue: list[Entry] = []
        self.cancelled: dict[tuple[str, str], int] = {}
        self.told: list[tuple[str, str]] = []

    def progress_ns(self) -> int:
        return int(self.board.words[PROGRESS])

    def cancel(self, queue: str, local: str) -> None:
        self.cancelled[queue, local] = time.monotonic_ns()
        self.told.append((queue, local))

    def kill(self, why: str) -> None:
        self.condemned = why


def seconds_ago(seconds: float) -> int:
    return time.monotonic_ns() - int(seconds * 1e9)


def look(child: Any, reached_ns: int) -> None:
    Warden(STALL_S, KILL_AFTER_S, ["mail"]).look([cast("Child", child)], reached_ns)


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


def test_a_cancelled_job_that_does_not_end_costs_its_process_its_life() -> None:
    child = FakeChild()
    child.board.write(0, b"asked", 0, seconds_ago(60), 0)
    child.cancelled = {("mail", "asked"): seconds_ago(1), ("mail", "ended"): seconds_ago(60)}
    look(child, 0)
    assert not child.condemned, "it has just been told"
    child.cancelled["mail", "asked"] = seconds_ago(3)
    look(child, 0)
    assert "cancelled" in child.condemned
    assert not child.overdue, "that is no timeout"
    assert not child.told


def test_a_job_that_began_after_its_process_was_told_to_cancel_it_is_named_again_and_not_killed() -> None:
    child = FakeChild()
    child.board.write(0, b"asked", 0, seconds_ago(3), 0)
    child.cancelled = {("mail", "asked"): seconds_ago(60)}
    look(child, 0)
    assert child.told == [("mail", "asked")]
    assert not child.condemned
