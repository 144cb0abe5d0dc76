"""Real worker processes under a real supervisor, and what becomes of their jobs when they are hurt."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ferryman import Ferryman, WorkerLost
from ferryman.worker import exitcodes
from tests.integration.worker_fleet import Fleet
from tests.integration.worker_jobs import tasks_on
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


def begun(log: Path) -> int:
    """How many jobs have begun that mark `log`. A job's state says less: it is ``running`` from the moment
    that a worker holds it, and one that has not begun when a signal comes is given back.
    """
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_sync_and_async_jobs_run_in_several_processes(server: RedisServer, prefix: str) -> None:
    with Fleet(server.url, prefix, "-p", "2", "-t", "2") as fleet:
        fleet.wait_ready(2)
        jobs = [fleet.tasks.nap.enqueue(0.3) for _ in range(4)]
        jobs += [fleet.tasks.anap.enqueue(0.1) for _ in range(4)]
        assert {job.result(10) for job in jobs} == fleet.pids()
        fleet.send(signal.SIGTERM)
        code, _ = fleet.end()
    assert code == exitcodes.CLEAN
    assert fleet.leases() == set()


def test_the_jobs_of_a_killed_process_run_elsewhere_within_milliseconds(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "2", "-t", "1", lease_s=60) as fleet:
        fleet.wait_ready(2)
        job = fleet.tasks.mark_and_nap.enqueue(str(log), 1.0)
        pid = int(wait_until(lambda: log.exists() and log.read_text()))
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: len(log.read_text().splitlines()) == 2)
        assert time.monotonic() - killed < 0.5
        assert job.result(10) == 1  # a crash burns no attempt
        wait_until(lambda: len(fleet.pids() - {pid}) == 2, 10, "the process has a successor")


def test_a_job_that_kills_its_processes_is_dead_and_its_neighbours_finish(
    server: RedisServer, prefix: str
) -> None:
    with Fleet(server.url, prefix, "-p", "1", "-t", "4") as fleet:
        fleet.wait_ready()
        neighbours = [fleet.tasks.nap.enqueue(0.5) for _ in range(3)]
        poison = fleet.tasks.segfault.enqueue()
        wait_until(lambda: poison.state == "dead", 30)
        for job in neighbours:
            assert job.result(20)
        last = poison.info().attempts[-1]
        assert last.outcome == "crashed"
        assert fleet.tasks.nap.enqueue(0).result(20)
        with pytest.raises(WorkerLost):
            fleet.app.job(poison.id).result(1)


@pytest.mark.parametrize("task", ["hold_the_gil", "blocked", "block_the_loop"])
def test_a_job_stuck_past_its_limit_is_ended_by_force_and_its_neighbours_are_not_charged(
    server: RedisServer, prefix: str, tmp_path: Path, task: str
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "1", "-t", "2") as fleet:
        fleet.wait_ready()
        neighbour = fleet.tasks.mark_and_nap.enqueue(str(log), 1.2)
        wait_until(log.exists)
        stuck = getattr(fleet.tasks, task).enqueue()
        started = time.monotonic()
        wait_until(lambda: stuck.state == "dead", 20)
        assert time.monotonic() - started < 3.0
        record = stuck.info().attempts[-1]
        assert record.outcome == "timeout"
        assert "killed" in record.error
        assert neighbour.result(20) == 1
        assert neighbour.info().crashes == 0


def test_term_lets_running_jobs_finish_and_gives_the_rest_back(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "1", "-t", "1") as fleet:
        fleet.wait_ready()
        running = fleet.tasks.mark_and_nap.enqueue(str(log), 0.8)
        wait_until(lambda: begun(log))
        waiting = [fleet.tasks.nap.enqueue(0) for _ in range(5)]
        fleet.send(signal.SIGTERM)
        code, _ = fleet.end()
        assert code == exitcodes.CLEAN
        assert running.result(1)
        assert {job.state for job in waiting} == {"queued"}


def test_a_grace_that_is_over_gives_running_jobs_back_uncharged(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "1", "-t", "2", "--grace", "0.3s") as fleet:
        fleet.wait_ready()
        jobs = [task.enqueue(str(log), 30) for task in (fleet.tasks.mark_and_nap, fleet.tasks.mark_and_anap)]
        wait_until(lambda: begun(log) == 2)
        fleet.send(signal.SIGTERM)
        code, _ = fleet.end()
        assert code == exitcodes.BROKEN_OFF
        for job in jobs:
            info = job.info()
            assert (info.state, info.attempt, info.crashes) == ("queued", 0, 0)


def test_a_second_signal_ends_at_once(server: RedisServer, prefix: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "2", "-t", "1") as fleet:
        fleet.wait_ready(2)
        job = fleet.tasks.mark_and_nap.enqueue(str(log), 30)
        wait_until(lambda: begun(log))
        fleet.send(signal.SIGINT)
        wait_until(lambda: len(fleet.leases()) == 1, 5, "the idle process has gone")
        started = time.monotonic()
        fleet.send(signal.SIGINT)
        code, _ = fleet.end()
        assert time.monotonic() - started < 4.0
        assert code == exitcodes.BROKEN_OFF
        assert job.state == "queued"


def test_a_stopped_process_loses_its_lease_and_its_late_ack_is_refused(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "2", "-t", "1", lease_s=1) as fleet:
        fleet.wait_ready(2)
        job = fleet.tasks.mark_and_nap.enqueue(str(log), 0.5)
        pid = int(wait_until(lambda: log.exists() and log.read_text()))
        os.kill(pid, signal.SIGSTOP)
        assert job.result(20) == 1
        assert len(log.read_text().splitlines()) == 2
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: pid in fleet.pids(), 20, "it is back under a new name")
        assert job.result(1) == 1
        assert fleet.tasks.nap.enqueue(0).result(10)


def test_when_the_supervisor_is_killed_its_processes_leave_in_good_order(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "2", "-t", "1", lease_s=5) as fleet:
        fleet.wait_ready(2)
        pids = fleet.pids()
        job = fleet.tasks.mark_and_nap.enqueue(str(log), 0.5)
        wait_until(lambda: begun(log))
        fleet.send(signal.SIGKILL)
        wait_until(lambda: not any(_lives(pid) for pid in pids), 15)
        assert job.result(1)
        assert fleet.leases() == set()


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_is_replaced_after_its_share_of_jobs(server: RedisServer, prefix: str) -> None:
    with Fleet(server.url, prefix, "-p", "1", "-t", "2", "--max-jobs", "20") as fleet:
        fleet.wait_ready()
        jobs = [fleet.tasks.nap.enqueue(0) for _ in range(100)]
        assert len({job.result(30) for job in jobs}) >= 2
        fleet.send(signal.SIGTERM)
        code, _ = fleet.end()
    assert code == exitcodes.CLEAN


def test_a_process_that_grew_too_large_is_replaced(server: RedisServer, prefix: str) -> None:
    with Fleet(server.url, prefix, "-p", "1", "-t", "1", "--max-memory", "150") as fleet:
        fleet.wait_ready()
        first = fleet.tasks.grow.enqueue(200).result(20)
        wait_until(lambda: fleet.pids() and first not in fleet.pids(), 20)
        assert fleet.tasks.nap.enqueue(0).result(20) != first


def test_burst_ends_when_nothing_is_left(server: RedisServer, prefix: str) -> None:
    app = Ferryman(server.url, prefix=prefix)
    tasks = tasks_on(app)
    jobs = [tasks.nap.enqueue(0.01) for _ in range(20)]
    with Fleet(server.url, prefix, "-p", "2", "-t", "2", "--burst") as fleet:
        code, _ = fleet.end(60)
    assert code == exitcodes.CLEAN
    assert all(job.result(1) for job in jobs)
    app.close()


def test_quiet_takes_no_new_jobs_until_it_is_continued(server: RedisServer, prefix: str) -> None:
    with Fleet(server.url, prefix, "-p", "1", "-t", "1") as fleet:
        fleet.wait_ready()
        assert fleet.tasks.nap.enqueue(0).result(10)
        fleet.send(signal.SIGTSTP)
        wait_until(lambda: [note.state for note in fleet.notes()] == ["quiet"], 10)
        job = fleet.tasks.nap.enqueue(0)
        time.sleep(0.3)  # what must not happen needs a while in which it could
        assert job.state == "queued"
        fleet.send(signal.SIGCONT)
        assert job.result(10)


def test_usr1_prints_the_stack_and_the_job_of_every_slot(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "1", "-t", "2") as fleet:
        fleet.wait_ready()
        job = fleet.tasks.mark_and_nap.enqueue(str(log), 3.0)
        wait_until(log.exists, 10)
        fleet.send(signal.SIGUSR1)
        wait_until(lambda: "idle threads" in fleet.errors(), 10)
        assert f"job {job.id} (fleet:mark_and_nap), attempt 1" in fleet.errors()
        assert "in mark_and_nap" in fleet.errors()


@pytest.mark.parametrize(
    "task, words",
    [("mark_and_anap", ["await asyncio.sleep(seconds)"]), ("mark_and_block_the_loop", ["the event loop is"])],
)
def test_usr1_shows_where_a_coroutine_waits_or_blocks(
    server: RedisServer, prefix: str, tmp_path: Path, task: str, words: list[str]
) -> None:
    log = tmp_path / "log"
    with Fleet(server.url, prefix, "-p", "1", "-t", "1") as fleet:
        fleet.wait_ready()
        getattr(fleet.tasks, task).enqueue(str(log), 3.0)
        wait_until(lambda: begun(log), 10)
        fleet.send(signal.SIGUSR1)
        wait_until(lambda: "idle threads" in fleet.errors(), 10)
        assert f"in {task}" in fleet.errors()
        for word in words:
            assert word in fleet.errors()


def test_a_fleet_whose_processes_never_become_ready_says_so(
    server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRYMAN_TEST_FAIL_AT_START", "1")
    with Fleet(server.url, prefix, "-p", "1") as fleet:
        code, errors = fleet.end(60)
    assert code == exitcodes.NEVER_READY
    assert errors.count("this worker refuses to start") == 3


def test_hup_replaces_the_processes_one_after_the_other(server: RedisServer, prefix: str) -> None:
    with Fleet(server.url, prefix, "-p", "2", "-t", "1") as fleet:
        fleet.wait_ready(2)
        before = fleet.pids()
        fleet.send(signal.SIGHUP)
        wait_until(lambda: len(fleet.pids()) == 2 and not fleet.pids() & before, 30)
        assert fleet.tasks.nap.enqueue(0).result(10)


def test_a_fleet_says_that_its_redis_could_throw_jobs_away() -> None:
    with (
        RedisServer("valkey", args=["--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru"]) as server,
        Fleet(server.url, "evicting", "-p", "1") as fleet,
    ):
        fleet.wait_ready()
        assert "maxmemory-policy allkeys-lru" in fleet.errors()
        assert fleet.tasks.nap.enqueue(0).result(10)
