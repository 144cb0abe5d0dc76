"""What holds for every store and by either face: jobs in, jobs seen, jobs changed by hand, results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ferryman import (
    Ferryman,
    InvalidArguments,
    InvalidOption,
    Job,
    JobCancelled,
    JobFailed,
    JobNotFound,
    NoResult,
    ResultTimeout,
    WorkerLost,
    results,
)
from ferryman.store import transitions
from tests.support.faces import Faces
from tests.support.hand import Hand


def enqueue(faces: Faces, app: Ferryman, *args: Any, task: str = "add", **options: Any) -> Job[Any]:
    job: Job[Any] = faces.call(app.tasks[task].options(**options), "enqueue", *args)
    return job


# -- in ------------------------------------------------------------------------------------------------------


def test_an_enqueued_job_waits_in_its_queue(app: Ferryman, faces: Faces) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    job = enqueue(faces, app, 1, 2)
    info = faces.call(job, "info")
    assert (info.id, info.queue, info.state, info.task) == (job.id, "q", "queued", "add")
    assert (info.args, dict(info.kwargs), info.attempt, info.attempts) == ((1, 2), {}, 0, ())
    assert before < info.enqueued_at < datetime.now(UTC) + timedelta(seconds=2)
    assert faces.call(app.queue("q"), "info").queued == 1


def test_jobs_are_fetched_in_the_order_of_arrival(app: Ferryman, faces: Faces) -> None:
    jobs = [enqueue(faces, app, number) for number in range(3)]
    jobs += faces.call(app.tasks["add"], "enqueue_many", [(number,) for number in range(700)])
    hand = Hand(app, "q")
    taken = [local for _ in range(8) for local in hand.take()]
    assert taken == [job.local for job in jobs]
    assert faces.call(jobs[0], "info").args == (0,)


def test_a_lifo_queue_gives_the_newest_first_and_what_is_given_back_before_all(
    app: Ferryman, faces: Faces
) -> None:
    locals_ = [enqueue(faces, app, number, queue="stack").local for number in range(5)]
    hand = Hand(app, "stack")
    assert hand.take(3) == locals_[4:1:-1]
    hand.run(transitions.release(hand.keys, "ada", [locals_[4], locals_[3]], lifo=True))
    newest = enqueue(faces, app, 9, queue="stack").local
    assert hand.take(2) == [newest, locals_[4]]
    hand.run(
        transitions.recover(hand.keys, "ada", forced=True, limit=3, window_ms=1000, running=[], lifo=True)
    )
    expected = [newest, locals_[4], locals_[2], locals_[3], locals_[1], locals_[0]]
    assert Hand(app, "stack", "bob").take() == expected


def test_a_shortest_first_queue_goes_by_expected_run_time(app: Ferryman, faces: Faces) -> None:
    slow = enqueue(faces, app, 1, queue="short", duration=60)
    unknown = enqueue(faces, app, 2, queue="short")
    quick = enqueue(faces, app, 3, queue="short", duration=0.01)
    urgent = enqueue(faces, app, 4, queue="short", duration=300, priority=1)
    assert Hand(app, "short").take() == [urgent.local, quick.local, unknown.local, slow.local]


def test_priorities_jump_the_line_or_wait_behind_it(app: Ferryman, faces: Faces) -> None:
    order = [0, 5, -1, 5, 0, 1000, -1000]
    jobs = [enqueue(faces, app, number, priority=priority) for number, priority in enumerate(order)]
    expected = [jobs[n].local for n in (5, 1, 3, 0, 4, 2, 6)]
    assert [job.local for job in faces.list(app.queue("q"), "jobs")] == expected
    assert Hand(app, "q").take() == expected
    assert faces.call(jobs[2], "info").priority == -1


@pytest.mark.parametrize("when", ["delay", "timedelta", "at"])
def test_a_delayed_job_is_scheduled_and_does_not_run_before_its_time(
    when: str, app: Ferryman, faces: Faces
) -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    choices: dict[str, dict[str, Any]] = {
        "delay": {"delay": 3600},
        "timedelta": {"delay": timedelta(hours=1)},
        "at": {"at": moment},
    }
    job = enqueue(faces, app, 1, **choices[when])
    info = faces.call(job, "info")
    assert info.state == "scheduled"
    assert abs(info.due_at - moment) < timedelta(seconds=5)
    hand = Hand(app, "q")
    fetched = hand.fetch()
    assert fetched.ids == []
    assert 3_590_000 < fetched.due_in_ms <= 3_600_000, "this holder keeps the timer"
    assert faces.call(app.queue("q"), "info").scheduled == 1
    assert faces.call(app.queue("q"), "info").next_due_at is not None


def test_a_moment_that_has_passed_means_now(app: Ferryman, faces: Faces) -> None:
    for at in (datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC) - timedelta(days=1)):
        job = enqueue(faces, app, 1, at=at)
        hand = Hand(app, "q")
        assert hand.take() == [job.local]
        hand.ack(job.local)


def test_the_same_chosen_id_is_enqueued_once(app: Ferryman, faces: Faces) -> None:
    first = enqueue(faces, app, 1, id="order-7")
    second = enqueue(faces, app, 2, id="order-7")
    elsewhere = enqueue(faces, app, 3, id="order-7", queue="other")
    assert first == second
    assert first.id == "order-7@q"
    assert elsewhere != first
    assert faces.call(first, "info").args == (1,)
    hand = Hand(app, "q")
    assert hand.take() == ["order-7"]
    enqueue(faces, app, 4, id="order-7")
    assert hand.take() == [], "it exists while it runs"
    hand.ack("order-7")
    enqueue(faces, app, 5, id="order-7")
    assert hand.take() == ["order-7"], "it kept no result, so it is gone"


def test_a_job_is_enqueued_by_the_name_of_its_task(app: Ferryman, faces: Faces) -> None:
    job = faces.call(app.queue("mail"), "enqueue", "shop.mail:send", 42, copy=True)
    info = faces.call(job, "info")
    assert (info.task, info.args, dict(info.kwargs)) == ("shop.mail:send", (42,), {"copy": True})
    assert [queue.name for queue in faces.list(app, "queues")] == ["mail"]


def test_many_jobs_are_handed_over_by_name_in_order(app: Ferryman, faces: Faces) -> None:
    mail = app.queue("mail")
    jobs = faces.call(mail, "enqueue_many", "shop.mail:send", [(number,) for number in range(3)])
    later = faces.call(mail.options(delay=60), "enqueue_many", "shop.mail:send", [("later",)])
    own = faces.call(mail, "enqueue_many", app.tasks["add"], [(1, 2)])
    assert [faces.call(job, "info").args for job in jobs + later + own] == [
        (0,), (1,), (2,), ("later",), (1, 2),
    ]  # fmt: skip
    assert [job.id for job in faces.list(mail, "jobs")] == [job.id for job in jobs + own]
    assert [job.id for job in faces.list(mail, "jobs", "scheduled")] == [job.id for job in later]
    with pytest.raises(InvalidArguments):
        faces.call(mail, "enqueue_many", app.tasks["add"], [(1, 2), ("no number",)])
    assert faces.call(mail, "info").queued == 4, "every call is checked before the first is sent"


def test_meta_and_tags_travel(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1, meta={"trace": "t1", "deep": {"x": [1, None]}}, tags=["eu", "vip"])
    info = faces.call(job, "info")
    assert info.meta == {"trace": "t1", "deep": {"x": [1, None]}}
    assert info.tags == ("eu", "vip")


def test_an_empty_bulk_enqueue_is_nothing(app: Ferryman, faces: Faces) -> None:
    assert faces.call(app.tasks["add"], "enqueue_many", []) == []


# -- a job's life as others see it ---------------------------------------------------------------------------


def test_a_job_is_seen_in_each_of_its_states(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1)
    hand = Hand(app, "q")
    assert hand.take() == [job.local]
    info = faces.call(job, "info")
    assert (info.state, info.worker) == ("running", "ada")
    hand.fail(job.local, error="ValueError: first")
    info = faces.call(job, "info")
    assert (info.state, info.attempt, info.error) == ("scheduled", 1, "ValueError: first")
    assert faces.call(job, "retry") is True, "it need not wait"
    assert hand.take() == [job.local]
    hand.bury(job.local, number=2, error="ValueError: second")
    info = faces.call(job, "info")
    assert (info.state, info.attempt) == ("dead", 2)
    assert [record.error for record in info.attempts] == ["ValueError: first", "ValueError: second"]
    assert info.finished_at is not None
    assert faces.call(job, "retry") is True
    info = faces.call(job, "info")
    assert (info.state, info.attempt, len(info.attempts)) == ("queued", 0, 2)
    assert hand.take() == [job.local]
    hand.ack(job.local)
    with pytest.raises(JobNotFound):
        faces.call(job, "info")
    assert faces.call(job, "retry") is False


def test_state_is_that_of_the_info(app: Ferryman, faces: Faces) -> None:
    assert faces.call(enqueue(faces, app, 1), "state") == "queued"


@pytest.mark.parametrize("options", [{}, {"priority": 3}, {"delay": 60}])
def test_a_waiting_job_is_cancelled_for_good(options: Any, app: Ferryman, faces: Faces) -> None:
    job, other = enqueue(faces, app, 1, tags=["x"], **options), enqueue(faces, app, 2)
    assert faces.call(job, "cancel") is True
    assert faces.call(job, "cancel") is False
    info = faces.call(job, "info")
    assert (info.state, info.task, info.tags) == ("cancelled", "add", ("x",))
    with pytest.raises(JobCancelled):
        faces.call(job, "result", timeout=1)
    assert [found.local for found in faces.list(app.queue("q"), "jobs")] == [other.local]
    assert len(app.queue("q")) == 1
    assert Hand(app, "q").take() == [other.local]


def test_a_failed_job_that_waits_for_its_retry_and_a_dead_one_are_cancelled(
    app: Ferryman, faces: Faces
) -> None:
    jobs = [enqueue(faces, app, number) for number in range(2)]
    hand = Hand(app, "q")
    hand.take()
    hand.fail(jobs[0].local)
    hand.bury(jobs[1].local)
    for job in jobs:
        assert faces.call(job, "cancel") is True
        assert faces.call(job, "state") == "cancelled"


def test_the_id_of_a_cancelled_job_may_be_used_again_at_once(app: Ferryman, faces: Faces) -> None:
    assert faces.call(enqueue(faces, app, 1, 2, id="invoice-7"), "cancel") is True
    again = enqueue(faces, app, 3, 4, id="invoice-7")
    assert faces.call(again, "info").args == (3, 4)
    assert faces.call(again, "state") == "queued"
    hand = Hand(app, "q")
    assert hand.take() == ["invoice-7"]
    hand.run(transitions.ack(hand.keys, "ada", ["invoice-7"]))
    with pytest.raises(JobNotFound):  # and what became of the first does not pass for the second's end
        faces.call(again, "info")


def test_the_id_of_a_job_whose_success_is_on_record_stays_taken(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1, 2, id="invoice-8")
    hand = Hand(app, "q")
    hand.take()
    record = results.encode(results.ResultRecord(results.SUCCEEDED, "add"))
    hand.run(transitions.ack(hand.keys, "ada", [], kept=[transitions.Kept("invoice-8", 60_000, record)]))
    assert faces.call(enqueue(faces, app, 3, 4, id="invoice-8"), "state") == "succeeded"
    assert faces.call(job, "state") == "succeeded"


def test_a_running_job_is_not_cancelled(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1)
    Hand(app, "q").take()
    assert faces.call(job, "cancel") is False
    assert faces.call(job, "state") == "running"


# -- queues --------------------------------------------------------------------------------------------------


def test_a_paused_queue_takes_jobs_and_gives_none(app: Ferryman, faces: Faces) -> None:
    queue, hand = app.queue("q"), Hand(app, "q")
    assert faces.call(queue, "pause", "deploy") is True
    assert faces.call(queue, "pause", "deploy again") is False
    job = enqueue(faces, app, 1)
    fetched = hand.fetch()
    assert (fetched.state, fetched.ids) == (b"paused", [])
    assert faces.call(queue, "info").paused == "deploy again"
    assert faces.call(queue, "resume") is True
    assert faces.call(queue, "resume") is False
    assert hand.take() == [job.local]
    assert faces.call(queue, "info").paused is None


def test_a_queue_tells_how_it_stands(app: Ferryman, faces: Faces) -> None:
    jobs = [enqueue(faces, app, number) for number in range(5)]
    hand = Hand(app, "q")
    hand.take(3)
    hand.fail(jobs[0].local)
    hand.bury(jobs[1].local)
    enqueue(faces, app, 9, delay=60)
    enqueue(faces, app, 9, priority=1)
    info = faces.call(app.queue("q"), "info")
    assert (info.queued, info.scheduled, info.running, info.dead, info.workers) == (3, 2, 1, 1, 1)
    assert 0 <= info.oldest_age_s < 60


def test_jobs_are_listed_by_state_in_pages(app: Ferryman, faces: Faces) -> None:
    jobs = faces.call(app.tasks["add"], "enqueue_many", [(number,) for number in range(1100)])
    later = [enqueue(faces, app, number, delay=60 + number) for number in range(3)]
    queue = app.queue("q")
    assert faces.list(queue, "jobs") == jobs
    assert faces.list(queue, "jobs", "scheduled") == later
    hand = Hand(app, "q")
    taken = hand.take(2)
    assert sorted(job.local for job in faces.list(queue, "jobs", "running")) == sorted(taken)
    hand.bury(taken[0])
    assert [job.local for job in faces.list(queue, "jobs", "dead")] == [taken[0]]
    with pytest.raises(InvalidOption, match="must be one of"):
        faces.list(queue, "jobs", "lost")


@pytest.mark.parametrize("state,places", [("queued", 3), ("scheduled", 2), ("dead", 1)])
def test_a_purge_deletes_the_jobs_of_one_state(state: str, places: int, app: Ferryman, faces: Faces) -> None:
    hand = Hand(app, "q")
    for number in range(3):
        enqueue(faces, app, number)
    failed, dead, running = hand.take()
    hand.fail(failed)
    hand.bury(dead)
    enqueue(faces, app, 1, delay=60)
    cancelled, _, _, _ = [enqueue(faces, app, 1, priority=priority) for priority in (0, 0, 1, -1)]
    faces.call(cancelled, "cancel")
    progress: list[int] = []
    assert faces.call(app.queue("q"), "purge", state, progress=progress.append) == places
    assert progress[-1] == places
    assert faces.list(app.queue("q"), "jobs", state) == []
    info = faces.call(app.queue("q"), "info")
    left = {"queued": info.queued, "scheduled": info.scheduled, "dead": info.dead}
    assert left == {"queued": 3, "scheduled": 2, "dead": 1, state: 0}
    assert info.running == 1
    hand.ack(running)
    with pytest.raises(InvalidOption):
        faces.call(app.queue("q"), "purge", "running")


# -- results -------------------------------------------------------------------------------------------------


def test_a_result_is_given_with_its_type(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1, 2)
    hand = Hand(app, "q")
    hand.take()
    hand.finish(job.local, 3, task="add")
    assert faces.call(job, "result", timeout=5) == 3
    assert faces.call(app.job(job.id), "result") == 3
    info = faces.call(job, "info")
    assert (info.state, info.attempt, info.worker) == ("succeeded", 1, "ada")


def test_waiting_for_a_result_ends_at_the_timeout(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1)
    with pytest.raises(ResultTimeout, match=r"did not end within 0\.05 s"):
        faces.call(job, "result", timeout=0.05)


def test_a_task_that_keeps_no_result_says_so_at_once(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, "x", task="note")
    with pytest.raises(NoResult, match="keeps no result"):
        faces.call(job, "result")


@pytest.mark.parametrize(
    "outcome,kind", [("failed", JobFailed), ("rejected", JobFailed), ("crashed", WorkerLost)]
)
def test_the_result_of_a_dead_job_is_its_error(
    outcome: str, kind: type[JobFailed | WorkerLost], app: Ferryman, faces: Faces
) -> None:
    job = enqueue(faces, app, 1)
    hand = Hand(app, "q")
    hand.take()
    hand.bury(job.local, outcome=outcome, error="ValueError: no luck")
    with pytest.raises(kind, match="no luck") as caught:
        faces.call(job, "result", timeout=5)
    assert caught.value.job_id == job.id
    assert caught.value.error == "ValueError: no luck"
    assert caught.value.traceback == "Traceback ..."


def test_a_job_that_left_no_trace_has_no_result(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1)
    hand = Hand(app, "q")
    hand.take()
    hand.ack(job.local)
    with pytest.raises(JobNotFound):
        faces.call(job, "result", timeout=5)


def test_a_chosen_id_whose_result_is_kept_is_not_run_again(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1, id="once")
    hand = Hand(app, "q")
    hand.take()
    hand.finish(job.local, 7, task="add")
    again = enqueue(faces, app, 2, id="once")
    assert hand.take() == []
    assert faces.call(again, "result", timeout=5) == 7


# -- leases --------------------------------------------------------------------------------------------------


def test_a_late_ack_after_the_lease_was_given_away_is_refused(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1)
    ada = Hand(app, "q")
    ada.take()
    ada.run(transitions.recover(ada.keys, "ada", forced=True, limit=3, window_ms=1000, running=None))
    bob = Hand(app, "q", "bob")
    assert bob.take() == [job.local]
    late = ada.run(transitions.ack(ada.keys, "ada", [job.local]))
    assert late.refused == [job.local.encode()]
    assert faces.call(job, "info").worker == "bob"
    assert ada.fetch().state == b"lost"
    assert ada.run(transitions.heartbeat(ada.keys, ["ada", "bob"], 60_000)).lost == ["ada"]


def test_a_job_under_which_workers_die_is_condemned(app: Ferryman, faces: Faces) -> None:
    job = enqueue(faces, app, 1)
    for crash in range(1, 4):
        hand = Hand(app, "q", f"worker{crash}")
        assert hand.take() == [job.local]
        step = transitions.recover(
            hand.keys, hand.holder, forced=True, limit=3, window_ms=60_000, running=[job.local]
        )
        found = hand.run(step)
        assert faces.call(job, "info").crashes == crash
        assert (found.condemned == [job.local]) == (crash == 3)
    hand.bury(job.local, outcome="crashed", error="worker lost")
    assert hand.run(step).left == 0
    assert faces.call(job, "state") == "dead"
