"""Ids: ordered by time, unique across threads, processes and forks, and checked wherever they come from."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman import ids
from ferryman.errors import InvalidOption

NOW = 1_780_000_000_000
moments = st.integers(0, 2**48 - 1)
locals_ = st.text("ABCZabcz0189._:-", min_size=1, max_size=128)
queues = st.text("ABCZabcz0189._-", min_size=1, max_size=64)


@given(moments)
def test_a_new_id_tells_when_it_was_made(now: int) -> None:
    local = ids.new_local(now)
    assert len(local) == 26
    assert ids.time_of(local) == now
    assert ids.check_local(local) == local


@given(moments, moments)
def test_ids_sort_by_time(one: int, other: int) -> None:
    if one != other:
        assert (ids.new_local(one) < ids.new_local(other)) == (one < other)


@pytest.mark.parametrize("count", [0, 1, 2, 1023, 1024, 1025, 5000])
def test_many_ids_are_unique_and_ascend(count: int) -> None:
    found = ids.new_locals(NOW, count)
    assert len(found) == len(set(found)) == count
    assert found == sorted(found)
    assert {ids.time_of(local) for local in found} <= {NOW}


def test_ids_of_many_threads_are_unique() -> None:
    found: list[str] = []

    def draw() -> None:
        mine = [ids.new_local(NOW) for _ in range(500)]
        for _ in range(5):
            mine += ids.new_locals(NOW, 100)
        found.extend(mine)

    threads = [threading.Thread(target=draw) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 16_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_draws_other_ids_than_its_parent() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mine = [ids.new_local(NOW) for _ in range(100)] + ids.new_locals(NOW, 1500)
            os.write(write, " ".join(mine).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        theirs = pipe.read().split()
    os.waitpid(child, 0)
    assert len(theirs) == 1600
    assert not set(theirs) & {*(ids.new_local(NOW) for _ in range(100)), *ids.new_locals(NOW, 1500)}


@given(locals_, queues)
def test_a_public_id_is_split_into_what_it_was_joined_of(local: str, queue: str) -> None:
    assert ids.split(ids.join(local, queue)) == (local, queue)


def test_a_sharded_queue_may_stand_in_an_id_and_not_in_an_option() -> None:
    assert ids.split("a@clicks#3") == ("a", "clicks#3")
    with pytest.raises(InvalidOption):
        ids.check_queue("clicks#3")


@pytest.mark.parametrize(
    "bad", ["", "a", "@", "a@", "@q", "a b@q", "a@q r", "a@q#", "a@q#x", "a\n@q", "a@q\n", 5, None, b"a@q"]
)
def test_what_is_no_job_id_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidOption, match="is no job id"):
        ids.split(bad)


@pytest.mark.parametrize("bad", ["", "a b", "a@b", "ä", "{a}", "a\n", "x" * 129, None, 7, b"a"])
def test_what_cannot_be_chosen_as_an_id_is_refused(bad: str) -> None:
    with pytest.raises(InvalidOption, match="1 to 128 characters"):
        ids.check_local(bad)


@pytest.mark.parametrize("bad", ["", "a b", "a@b", "a:b", "ä", "{a}", "a\n", "x" * 65, None, 7, b"a"])
def test_what_is_no_queue_name_is_refused(bad: str) -> None:
    with pytest.raises(InvalidOption, match="1 to 64 characters"):
        ids.check_queue(bad)


@pytest.mark.parametrize("chosen", ["order-7", "x" * 26, "01K9ZX3V8Q2M7RTB5N6DPA4CE", "O" * 26])
def test_an_id_of_ones_own_tells_no_time(chosen: str) -> None:
    assert ids.time_of(chosen) is None
