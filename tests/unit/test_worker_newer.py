"""For how long jobs are left to newer workers, and what is said of them."""

from __future__ import annotations

import logging

import pytest

from ferryman.worker.board import LEFT, NEWEST, Board
from ferryman.worker.newer import FIRST_PAUSE_S, LONGEST_PAUSE_S, SUMMON_S, Calls, Newer


def test_the_pauses_of_a_queue_grow_while_it_keeps_bringing_newer_jobs_and_begin_again_after_a_rest() -> None:
    newer = Newer(Board.private(1))
    seen, now = [], 1000.0
    for _ in range(8):
        seen.append(newer._pause_s("q", now))
        assert newer._pause_s("q", now + 0.1) == seen[-1], "many jobs at once are one meeting"
        now += seen[-1]
    assert seen == [2, 4, 8, 16, 30, 30, 30, 30]
    assert (seen[0], seen[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    assert newer._pause_s("another", now) == FIRST_PAUSE_S
    assert newer._pause_s("q", now + 3 * LONGEST_PAUSE_S) == FIRST_PAUSE_S


def test_it_is_said_once_for_each_queue_and_version_and_counted_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    board = Board.private(1)
    newer = Newer(board)
    with caplog.at_level(logging.WARNING, "ferryman.worker"):
        for queue, version in (("a", 2), ("a", 2), ("b", 2), ("a", 3), ("a", 2), ("b", 2**64 - 1)):
            deferral = newer.defer(queue, b"x", version)
            assert (deferral.local, deferral.version) == ("x", version)
    assert [record.args[:2] for record in caplog.records] == [  # type: ignore[index]
        ("a", 2), ("b", 2), ("a", 3), ("b", 2**64 - 1),
    ]  # fmt: skip
    assert (board.words[LEFT], board.words[NEWEST]) == (6, 2**62)


def test_the_queues_are_asked_at_once_and_then_every_few_seconds() -> None:
    calls = Calls()
    assert calls.due(0)
    calls.asked(0, more=False)
    assert not calls.due(int(0.7 * SUMMON_S * 1e9))
    assert calls.due(int(1.3 * SUMMON_S * 1e9))
    calls.asked(0, more=True)
    assert calls.due(int(0.2e9)), "soon, if there was more than room"
