"""The judge of all other tests here: told of a fault, it must find it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support import history as judge
from tests.support.history import MS, Event, History, Kind, Recorder


def history(*events: tuple[int, Kind, int, int], attempt: int = 1) -> History:
    """From (milliseconds, kind, number, pid)."""
    return judge.of(Event(at * MS, kind, number, pid, attempt) for at, kind, number, pid in events)


def test_a_job_that_was_accepted_and_never_finished_is_lost() -> None:
    found = history((1, "offer", 1, 0), (2, "accept", 1, 0), (3, "start", 1, 9))
    assert judge.lost(found) == {1}
    with pytest.raises(AssertionError, match="LOST 1 jobs"):
        judge.assert_nothing_lost(found, context="(seed 7)")


def test_a_job_in_doubt_may_run_or_not() -> None:
    judge.assert_nothing_lost(history((1, "offer", 1, 0)))
    judge.assert_nothing_lost(history((1, "offer", 1, 0), (2, "start", 1, 9), (3, "finish", 1, 9)))


def test_a_job_that_nobody_offered_or_that_finished_without_a_start_is_invented() -> None:
    assert judge.invented(history((1, "start", 1, 9), (2, "finish", 1, 9))) == {1}
    assert judge.invented(history((1, "offer", 1, 0), (2, "finish", 1, 9))) == {1}


def test_a_job_that_ran_twice_is_found_also_if_both_runs_finished() -> None:
    found = history(
        (1, "offer", 1, 0), (2, "accept", 1, 0),
        (3, "start", 1, 8), (4, "finish", 1, 8), (5, "start", 1, 9), (6, "finish", 1, 9),
    )  # fmt: skip
    assert judge.repeated(found) == judge.unexplained(found) == {1}
    with pytest.raises(AssertionError, match="RAN AGAIN 1 jobs"):
        judge.assert_each_ran_once(found)


def test_a_kill_excuses_only_what_ran_in_that_process_at_that_time() -> None:
    def after(*events: tuple[int, Kind, int, int]) -> set[int]:
        return judge.unexplained(history(*events, (5000, "kill", 8, 0), (5010, "gone", 8, 0)))

    again: tuple[int, Kind, int, int] = (5020, "start", 1, 9)
    assert after((4000, "start", 1, 8), again) == set(), "it ran when its process was killed"
    assert after((4000, "start", 1, 8), (4990, "finish", 1, 8), again) == set(), "not yet acknowledged"
    assert after((1000, "start", 1, 8), (1100, "finish", 1, 8), again) == {1}, "done long before"
    assert after((4000, "start", 1, 7), again) == {1}, "another process was killed"
    assert after((4000, "start", 1, 8), (4500, "start", 1, 9)) == {1}, "started again before the kill"


def test_a_silence_excuses_what_ran_again_only_if_it_may_have_cost_the_lease() -> None:
    def after(silent: int, heard: int, pid: int = 8) -> set[int]:
        found = history(
            (1000, "start", 1, 8), (1100 + silent, "silent", pid, 0), (1100 + heard, "heard", pid, 0),
            (5000, "start", 1, 9),
        )  # fmt: skip
        return judge.unexplained(found, lease_ns=3000 * MS)

    assert after(0, 2900) == set(), "silent for most of a lease"
    assert after(0, 2900, pid=0) == set(), "nobody was heard"
    assert after(0, 1000) == {1}, "too short to lose the lease"
    assert after(0, 2900, pid=7) == {1}, "somebody else was silent"
    assert after(4000, 8000) == {1}, "it ran again before"


def test_silences_without_a_heartbeat_between_them_are_one() -> None:
    found = history(
        (1000, "start", 1, 8), (1100, "silent", 8, 0), (2100, "heard", 8, 0),
        (2500, "silent", 0, 0), (3300, "heard", 0, 0), (5000, "start", 1, 9),
    )  # fmt: skip
    assert judge.unexplained(found, lease_ns=3000 * MS) == set()
    assert judge.unexplained(found, lease_ns=6000 * MS) == {1}


def test_recovery_is_timed_from_the_kill_to_the_first_run_elsewhere() -> None:
    found = history(
        (1, "start", 1, 8), (2, "start", 2, 8),
        (10, "kill", 8, 0), (12, "gone", 8, 0),
        (40, "start", 2, 9), (50, "start", 1, 9), (60, "finish", 2, 9), (61, "finish", 1, 9),
    )  # fmt: skip
    assert judge.recoveries_ms(found) == [30.0]
    assert judge.recoveries_ms(history((1, "kill", 8, 0))) == []


def test_lines_of_many_threads_are_whole_and_a_half_written_one_is_left_for_later(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history")

    def note(first: int) -> None:
        for number in range(first, first + 500):
            recorder.note("start", number, 1)
            recorder.note("finish", number, 1)

    threads = [threading.Thread(target=note, args=(first,)) for first in (0, 500, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    with open(tmp_path / "history", "ab") as half:
        half.write(b"99 start 7")
    found = judge.read(tmp_path / "history")
    assert found.finished() == set(range(1500))
    assert len(found.runs) == judge.starts(tmp_path / "history") - 1
    assert not found.strays
