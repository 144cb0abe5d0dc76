"""The parts of a worker that need no server: board, prefetch, shares, settings."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ferryman.errors import ConfigurationError
from ferryman.store.keys import QueueKeys
from ferryman.worker.board import Board, Entry
from ferryman.worker.feeds import Feed, strict, weighted
from ferryman.worker.prefetch import MOST, Prefetch
from ferryman.worker.settings import Share, WorkerSettings, parse_queues
from ferryman.worker.tenure import new_holder

MS = 1_000_000


def feed(name: str, weight: float = 1, async_share: float = 0.0, rank: int = 0) -> Feed:
    return Feed(name, QueueKeys("t", name), "fifo", weight, async_share, rank)


def test_a_board_shows_what_each_slot_runs() -> None:
    board = Board.private(3)
    board.write(1, b"x" * 128, 2, 1000, 5000)
    assert board.running() == [Entry(1, b"x" * 128, 2, 1000, 5000)]
    board.write(1, b"short", 0, 2000, 0)
    board.clear(0)
    assert board.running() == [Entry(1, b"short", 0, 2000, 0)]
    board.clear(1)
    assert board.running() == []


def test_a_board_is_shared_with_another_process() -> None:
    board, fd = Board.shared(2)
    os.set_inheritable(fd, True)
    code = (
        "import sys; from ferryman.worker.board import Board; b = Board.of(int(sys.argv[1]), 2);"
        "b.set_holder('host-1-abc'); b.write(1, b'job', 7, 42, 0)"
    )
    subprocess.run([sys.executable, "-c", code, str(fd)], check=True, pass_fds=[fd])
    os.close(fd)
    assert board.holder() == "host-1-abc"
    assert board.running() == [Entry(1, b"job", 7, 42, 0)]
    board.close()


def test_a_new_board_has_no_holder_and_a_later_one_replaces_it() -> None:
    board = Board.private(1)
    assert board.holder() == ""
    board.set_holder("a-long-name-1-abc")
    board.set_holder("b-1")
    assert board.holder() == "b-1"


def test_nothing_is_fetched_ahead_before_anything_was_measured() -> None:
    assert Prefetch(8).room() == 8


def test_short_jobs_are_fetched_ahead_and_long_ones_are_not() -> None:
    short, long = Prefetch(4), Prefetch(4)
    now = 0
    for _ in range(50):
        short.begun(1000, now)
        long.begun(4, now)
        now += 10 * MS
        short.finished(1000, now)
        now += 990 * MS
        long.finished(4, now)
    assert short.room() > 100
    assert long.room() == 4


def test_prefetch_is_bounded_and_falls_to_nothing_when_jobs_get_stuck() -> None:
    prefetch = Prefetch(4)
    prefetch.begun(10**6, 0)
    prefetch.finished(10**6, 1000 * MS)
    assert prefetch.room() == 4 + MOST
    prefetch.stuck()
    assert prefetch.room() == 4


def test_the_shards_of_a_queue_are_fetched_from_alike_and_before_the_queues_behind_it() -> None:
    shards, behind = [feed(f"a#{number}") for number in range(3)], feed("b", rank=1)
    taken = dict.fromkeys([feed.name for feed in (*shards, behind)], 0)
    for _ in range(30):
        for chosen, limit in strict([*shards, behind], 4, 0):
            taken[chosen.name] += limit
    assert taken["b"] == 0
    assert 30 * 3 <= sum(taken.values()) <= 30 * 4
    assert max(taken[shard.name] for shard in shards) - min(taken[shard.name] for shard in shards) <= 4


def test_in_strict_order_only_the_first_queue_with_work_is_fetched_from() -> None:
    first, second = feed("a"), feed("b", rank=1)
    assert strict([first, second], 5, 0) == [(first, 5)]
    first.may_have_work = False
    assert strict([first, second], 5, 0) == [(second, 5)]
    assert strict([first, second], 0, 0) == []


@pytest.mark.parametrize("room", [1, 3, 7, 100])
def test_weights_share_the_room_in_the_long_run_whatever_its_size(room: int) -> None:
    feeds = [feed("a", 3), feed("b", 1), feed("c", 1)]
    got = {"a": 0, "b": 0, "c": 0}
    for _ in range(500):
        plan = weighted(feeds, room, 0)
        assert 0 < sum(limit for _, limit in plan) <= room
        for one, limit in plan:
            got[one.name] += limit
    total = sum(got.values())
    assert got["a"] / total == pytest.approx(0.6, abs=0.05)
    assert got["b"] == pytest.approx(got["c"], rel=0.1)


def test_a_weighted_queue_without_work_leaves_its_share_to_the_others() -> None:
    feeds = [feed("a", 9), feed("b", 1)]
    feeds[0].may_have_work = False
    assert weighted(feeds, 10, 0) == [(feeds[1], 10)]


def test_a_queue_of_both_kinds_is_fetched_from_as_far_as_both_kinds_fit() -> None:
    assert feed("q", async_share=0.0).limit(8, 100) == 8
    assert feed("q", async_share=1.0).limit(8, 100) == 100
    assert feed("q", async_share=0.5).limit(8, 100) == 16
    assert feed("q", async_share=0.5).limit(0, 100) == 0
    mixed = feed("q", async_share=0.5)
    for _ in range(100):
        mixed.learn_kinds(10, 0)
    assert mixed.async_share == 0.0


def test_queues_are_read_from_the_command_line() -> None:
    assert parse_queues("critical, mail:3,default") == (
        Share("critical"),
        Share("mail", 3),
        Share("default"),
    )
    assert parse_queues("") == ()
    for wrong in ("a,a", "a:0", "a:x", "a b", ":3"):
        with pytest.raises(ConfigurationError):
            parse_queues(wrong)


def test_settings_survive_the_way_to_a_child_and_refuse_what_cannot_work() -> None:
    settings = WorkerSettings("shop:app", (Share("mail", 3),), processes=2, max_jobs=5)
    assert WorkerSettings.from_json(settings.to_json()) == settings
    with pytest.raises(ConfigurationError, match="threads"):
        WorkerSettings("shop:app", threads=-1)
    with pytest.raises(ConfigurationError, match="threads or concurrency"):
        WorkerSettings("shop:app", threads=0, concurrency=0)


def test_a_holders_name_is_never_used_twice_and_has_no_spaces() -> None:
    names = {new_holder("web 1") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("web-1-") for name in names)
