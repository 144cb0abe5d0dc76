"""A scheduler whose turns and clock are in the hands of the test: policies, downtime, jumps, leaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ferryman.errors import InvalidOption, ScheduleNotFound
from ferryman.schedules.jobs import local_of
from ferryman.store import scheduling
from tests.support.schedulers import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench("2026-01-01T00:00Z") as made:
        made.app.task(name="work")(lambda: None)
        yield made


def define(bench: Bench, name: str = "hourly", **when: Any) -> None:
    bench.app.schedule("work", name=name, **({"cron": "0 * * * *"} | when))
    bench.sync()


def hours(*numbers: int, name: str = "hourly") -> list[str]:
    return [f"{name}:20260101T{number:02}0000Z" for number in numbers]


# -- ticks ---------------------------------------------------------------------------------------------------


def test_each_tick_makes_one_job_whose_id_says_which(bench: Bench) -> None:
    define(bench)
    bench.advance(hours=3, minutes=30)
    assert bench.fired() == hours(1, 2, 3)


def test_the_job_knows_its_nominal_time_and_those_before_and_after(bench: Bench) -> None:
    define(bench, cron="0 2 * * mon-fri", tz="Europe/Berlin")
    bench.advance(days=1, hours=2)
    tick = (bench.letters()[1].options or {})["tick"]
    berlin_two = 1_767_315_600_000  # Friday 2026-01-02 02:00+01:00
    assert tick["at"] == berlin_two
    assert tick["previous"] == berlin_two - 86_400_000
    assert tick["next"] == berlin_two + 3 * 86_400_000


def test_a_context_without_a_tick_has_none_and_one_with_a_tick_has_its_times(bench: Bench) -> None:
    from ferryman.context import JobContext

    plain = JobContext(bench.app, "a", "q", "t", 1, "w", 0)
    assert plain.tick is None
    define(bench)
    bench.advance(hours=1)
    options = bench.letters()[0].options or {}
    tick = JobContext(bench.app, "a", "q", "t", 1, "w", 0, options=options).tick
    assert tick is not None
    assert (tick.schedule, tick.kind) == ("hourly", "tick")
    assert tick.nominal.isoformat() == "2026-01-01T01:00:00+00:00"
    assert tick.previous is not None
    assert tick.next is not None
    assert (tick.next - tick.previous).total_seconds() == 7200


def test_no_tick_is_fired_before_its_time_even_if_the_scheduler_believes_it_is_due(bench: Bench) -> None:
    define(bench)
    bench.turn()
    keys = bench.app.store.keys("default")
    kept = bench.app.store.run(scheduling.get_schedule(keys, "hourly"))
    assert kept.hands is not None
    assert kept.due_ms is not None
    early = scheduling.Firing(
        "hourly", "hands", kept.hands.decode(), "2 - -", None, kept.due_ms, "allow", None, None, []
    )
    assert bench.app.store.run(scheduling.tick(keys, 1, [early])).statuses == [("early", 0)]


def test_jitter_delays_the_tick_and_leaves_the_nominal_time(bench: Bench) -> None:
    define(bench, jitter="20m")
    bench.advance(hours=24)
    runs = bench.app.schedules.history("hourly", 100)
    assert all(run.nominal_at is not None and run.nominal_at.minute == 0 for run in runs)
    assert all(0 <= run.lateness_s <= 1200 for run in runs)
    assert len({run.lateness_s for run in runs}) > 10


def test_priority_and_expiry_reach_the_jobs(bench: Bench) -> None:
    define(bench, options={"priority": 7, "expires": 60})
    bench.app.queue("default").enqueue("work")
    bench.advance(hours=1)
    assert bench.fired()[0] == hours(1)[0]
    assert (bench.letters()[0].options or {})["expires"] == bench.pool.now_ms() + 60_000


def test_a_one_off_fires_once_and_is_forgotten_after_a_week(bench: Bench) -> None:
    bench.app.schedules.add("work", name="once", at="2026-01-01T05:00Z")
    bench.advance(hours=6)
    assert bench.fired() == ["once:20260101T050000Z"]
    assert bench.app.schedules.info("once").state == "ended"
    bench.advance(days=8)
    with pytest.raises(ScheduleNotFound):
        bench.app.schedules.info("once")


# -- misfires ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy, fired, kinds",
    [
        ({"misfire": "run_once"}, hours(6), ["missed:5", "late"]),
        ({"misfire": "run_all"}, hours(1, 2, 3, 4, 5, 6), ["late"] * 6),
        ({"misfire": "run_all", "catch_up": 2}, hours(5, 6), ["missed:4", "late", "late"]),
        ({"misfire": "skip"}, [], ["missed:6"]),
        ({"misfire": "skip", "grace": "45m"}, hours(6), ["missed:5", "tick"]),
    ],
)
def test_after_a_downtime_of_the_schedulers_the_policy_decides(
    bench: Bench, policy: dict[str, Any], fired: list[str], kinds: list[str]
) -> None:
    define(bench, **policy)
    bench.turn()
    bench.skip(hours=6, minutes=30)
    bench.advance(minutes=1)
    assert bench.fired() == fired
    assert bench.kinds("hourly") == kinds
    bench.advance(minutes=30)
    assert bench.fired() == fired + hours(7)


def test_a_downtime_of_the_workers_costs_no_tick(bench: Bench) -> None:
    define(bench)
    bench.advance(hours=6)
    assert bench.fired() == hours(1, 2, 3, 4, 5, 6)


def test_a_server_clock_that_jumps_ahead_is_a_misfire_and_one_that_falls_back_fires_nothing_twice(
    bench: Bench,
) -> None:
    define(bench)
    bench.advance(hours=2)
    bench.skip(hours=5)
    bench.advance(minutes=1)
    assert bench.fired() == hours(1, 2, 7)
    bench.skip(hours=-3)
    bench.advance(hours=3, minutes=58)
    assert bench.fired() == hours(1, 2, 7)
    bench.advance(minutes=5)
    assert bench.fired() == hours(1, 2, 7, 8)


# -- overlap -------------------------------------------------------------------------------------------------


def test_allow_fires_whatever_runs(bench: Bench) -> None:
    define(bench)
    bench.advance(hours=1)
    assert bench.take() is not None
    bench.advance(hours=2)
    assert bench.fired() == hours(2, 3)


def test_skip_if_running_skips_until_the_run_has_ended(bench: Bench) -> None:
    define(bench, overlap="skip_if_running")
    bench.advance(hours=3)
    assert bench.fired() == hours(1)
    bench.finish(hours(1)[0])
    bench.advance(hours=1)
    assert bench.fired() == hours(4)
    assert bench.kinds("hourly") == ["tick", "overlap", "overlap", "tick"]


def test_a_dead_letter_is_no_running_job(bench: Bench) -> None:
    define(bench, overlap="skip_if_running")
    bench.advance(hours=1)
    bench.finish(hours(1)[0], succeeded=False)
    bench.advance(hours=1)
    assert bench.fired() == hours(2)


def test_queue_one_keeps_one_tick_for_the_end_of_the_run(bench: Bench) -> None:
    define(bench, overlap="queue_one")
    bench.advance(hours=4)
    assert bench.fired() == hours(1)
    bench.finish(hours(1)[0])
    bench.advance(seconds=1)
    assert bench.fired() == hours(2)
    assert bench.kinds("hourly") == ["tick", "overlap", "overlap", "tick"]
    bench.finish(hours(2)[0])
    bench.advance(hours=1)
    assert bench.fired() == hours(5)


def test_a_tick_that_waits_is_inherited_by_the_next_leader(bench: Bench) -> None:
    define(bench, overlap="queue_one")
    bench.advance(hours=2)
    bench.skip(seconds=20)  # the leader is gone
    bench.finish(hours(1)[0])
    bench.scheduler = bench.new_scheduler("second")
    bench.advance(seconds=10)
    assert bench.fired() == hours(2)


def test_cancel_running_has_the_run_before_cancelled(bench: Bench) -> None:
    define(bench, overlap="cancel_running")
    bench.advance(hours=1)
    bench.take()
    bench.advance(hours=1)
    assert bench.cancelled == hours(1)
    assert bench.fired() == hours(2)
    bench.advance(minutes=5)
    assert bench.cancelled == hours(1), "once is enough"


def test_catching_up_keeps_to_the_overlap_policy(bench: Bench) -> None:
    define(bench, overlap="skip_if_running", misfire="run_all")
    bench.turn()
    bench.skip(hours=3, minutes=30)
    bench.advance(minutes=1)
    assert bench.fired() == hours(1)
    assert bench.kinds("hourly") == ["late", "overlap", "overlap"]


# -- freshness -----------------------------------------------------------------------------------------------


def test_a_fresh_success_makes_ticks_unnecessary(bench: Bench) -> None:
    define(bench, unless_fresh="90m")
    bench.advance(hours=1)
    bench.finish(hours(1)[0])
    bench.advance(hours=1)
    assert bench.fired() == []
    bench.advance(hours=1)
    assert bench.fired() == hours(3)
    assert bench.kinds("hourly") == ["tick", "fresh", "tick"]


def test_a_failure_is_not_fresh(bench: Bench) -> None:
    define(bench, unless_fresh="90m")
    bench.advance(hours=1)
    bench.finish(hours(1)[0], succeeded=False)
    bench.advance(hours=1)
    assert bench.fired() == hours(2)


# -- leaders -------------------------------------------------------------------------------------------------


def test_one_leads_and_another_takes_over_when_its_lease_has_lapsed(bench: Bench) -> None:
    define(bench)
    second = bench.new_scheduler("second")
    bench.turn()
    assert bench.turn(second) <= 5100
    assert (bench.scheduler.leads, second.leads) == (True, False)
    bench.skip(seconds=6)
    bench.turn(second)
    assert second.leads
    assert second.lease.token > bench.scheduler.lease.token


def test_a_leader_that_was_paused_finds_itself_deposed_and_fires_nothing(bench: Bench) -> None:
    define(bench)
    old, new = bench.scheduler, bench.new_scheduler("new")
    bench.turn()
    token = old.lease.token
    bench.move("2026-01-01T00:59:58Z")
    bench.scheduler = new
    bench.advance(hours=1, seconds=5)
    assert bench.fired() == hours(1, 2)
    old.lease.token, old.lease._until = token, float("inf")  # it has not looked at a clock yet
    old.lease._next_try = float("inf")
    old.turn()
    assert not old.leads
    assert bench.fired() == hours(1, 2)


def test_two_that_both_believe_to_lead_fire_each_tick_once(bench: Bench) -> None:
    define(bench, cron="*/10 * * * * *")
    other = bench.new_scheduler("other")
    bench.turn()
    other.lease.token, other.lease._until, other.lease._next_try = 1, float("inf"), float("inf")
    other._prospects = {}
    from ferryman.scheduler.prospect import Prospect

    other._prospects["default"] = Prospect(bench.app.store.keys("default"))
    for _ in range(60):
        bench.skip(seconds=5)
        bench.turn(other)
        bench.turn()
    assert len(bench.fired()) == len(set(bench.fired())) == 30


def test_whoever_leaves_in_good_order_is_followed_at_once(bench: Bench) -> None:
    second = bench.new_scheduler("second")
    bench.turn()
    bench.turn(second)
    bench.scheduler.lease.give_up(bench.pool._make())
    keys = bench.app.store.fleet_keys
    assert bench.pool.command("LLEN", keys.vacancy) == 1
    second.bell_rang()
    bench.turn(second)
    assert second.leads


# -- changes at run time -------------------------------------------------------------------------------------


def test_a_paused_schedule_has_no_ticks_and_misses_none(bench: Bench) -> None:
    define(bench)
    bench.advance(hours=1)
    assert bench.app.schedules.pause("hourly", "audit")
    bench.advance(hours=3)
    assert bench.app.schedules.info("hourly").paused == "audit"
    assert bench.app.schedules.resume("hourly")
    bench.advance(hours=1)
    assert bench.fired() == hours(1, 5)


def test_an_edit_moves_the_next_tick_and_a_deployment_leaves_it(bench: Bench) -> None:
    define(bench)
    bench.app.schedules.edit("hourly", cron="30 * * * *")
    bench.sync()
    bench.advance(hours=1)
    assert bench.fired() == ["hourly:20260101T003000Z"]
    assert bench.app.schedules.reset("hourly")
    bench.advance(minutes=30)
    assert bench.fired()[1:] == hours(1) or bench.fired()[1:] == []
    assert bench.app.schedules.info("hourly").edited == ()


def test_an_edit_that_leaves_the_times_alone_leaves_a_missed_tick_to_its_policy(bench: Bench) -> None:
    define(bench)
    bench.turn()
    bench.skip(hours=2, minutes=30)
    bench.app.schedules.edit("hourly", grace="1h")
    bench.advance(minutes=1)
    assert bench.fired() == hours(2)


def test_a_schedule_moves_to_another_queue_without_a_tick_lost_or_doubled(bench: Bench) -> None:
    define(bench)
    bench.advance(hours=1)
    bench.app.schedules.edit("hourly", options={"queue": "other"})
    bench.advance(hours=2)
    assert bench.fired() == hours(1)
    assert bench.fired("other") == hours(2, 3)
    assert bench.app.schedules.info("hourly").queue == "other"


def test_a_move_that_was_cut_short_is_finished_by_the_leader(bench: Bench) -> None:
    define(bench)
    bench.advance(hours=1)
    keeper = bench.app.schedules._keeper
    finish = keeper.finish_move
    try:
        keeper.finish_move = lambda *_: iter(())  # type: ignore[method-assign, assignment]
        bench.app.schedules.edit("hourly", options={"queue": "other"})
    finally:
        keeper.finish_move = finish  # type: ignore[method-assign]
    bench.advance(hours=2)
    assert sorted(bench.fired() + bench.fired("other")) == hours(1, 2, 3)
    assert bench.fired("other")
    assert bench.pool.command("HLEN", bench.app.store.keys("default").schedules) == 0


def test_a_removed_schedule_of_the_code_stays_removed_until_restored(bench: Bench) -> None:
    define(bench)
    assert bench.app.schedules.remove("hourly")
    bench.sync()
    bench.advance(hours=2)
    assert bench.fired() == []
    assert bench.app.schedules.info("hourly").state == "removed"
    assert bench.app.schedules.restore("hourly")
    bench.advance(hours=1)
    assert bench.fired() == hours(3)


def test_what_the_code_defines_no_more_goes_and_what_was_added_at_run_time_stays(bench: Bench) -> None:
    define(bench)
    bench.app.schedules.add("work", name="mine", every="1h")
    bench.app.declared.clear()
    done = bench.sync()
    assert done.retired == ["hourly"]
    assert [info.name for info in bench.app.schedules.overview()] == ["mine"]


def test_a_name_that_was_added_at_run_time_is_not_taken_by_code(bench: Bench) -> None:
    bench.app.schedules.add("work", name="hourly", every="2h")
    bench.app.schedule("work", name="hourly", cron="0 * * * *")
    done = bench.sync()
    assert "was added at run time" in done.problems[0]
    assert bench.app.schedules.info("hourly").words == "every 2 hours"


def test_run_now_enqueues_beside_the_ticks(bench: Bench) -> None:
    define(bench, overlap="skip_if_running")
    job = bench.app.schedules.run_now("hourly")
    assert job.local.startswith("hourly:run-")
    assert job.state == "queued"
    bench.advance(hours=1)
    assert bench.kinds("hourly") == ["manual", "overlap"]


def test_a_backfill_is_bounded_and_enqueues_nothing_twice(bench: Bench) -> None:
    define(bench)
    book = bench.app.schedules
    made = book.backfill("hourly", "2025-12-31T20:00Z", "2026-01-01T00:00Z")
    assert [job.local for job in made] == [f"hourly:20251231T{hour}0000Z" for hour in (20, 21, 22, 23)]
    bench.finish(made[0].local)
    assert book.backfill("hourly", "2025-12-31T20:00Z", "2026-01-01T00:00Z") == []
    with pytest.raises(InvalidOption, match="more than 3 ticks"):
        book.backfill("hourly", "2025-12-31T00:00Z", "2026-01-01T00:00Z", limit=3)
    assert len(bench.fired()) == 3
    tick = (bench.letters()[0].options or {})["tick"]
    assert tick["kind"] == "backfill"
    assert tick["next"] - tick["previous"] == 7_200_000


def test_history_says_how_each_run_ended(bench: Bench) -> None:
    define(bench)
    bench.advance(hours=3)
    bench.finish(hours(1)[0])
    bench.finish(hours(2)[0], succeeded=False)
    outcomes = [run.outcome for run in bench.app.schedules.history("hourly")]
    assert outcomes == ["queued", "dead", "succeeded"]


# -- what is wrong with one is no other's trouble ------------------------------------------------------------


def test_records_that_cannot_be_read_are_put_off_and_the_others_go_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    define(bench)
    define(bench, name="broken")
    define(bench, name="handless")
    keys = bench.app.store.keys("default")
    bench.pool.command("HSET", keys.schedules, "broken", b"\x00nonsense")
    bench.pool.command("HSET", keys.hands, "handless", b"nonsense")
    bench.advance(hours=2)
    assert bench.fired() == hours(1, 2)
    states = {info.name: info.state for info in bench.app.schedules.overview()}
    assert states == {"hourly": "active", "broken": "faulty", "handless": "faulty"}
    assert "schedule broken has no ticks here" in caplog.text
    assert caplog.text.count("schedule broken") == 1, "said once"


def test_a_task_that_no_longer_exists_is_told_of_and_the_others_go_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    define(bench)
    bench.app.schedules.add("gone:task", name="lost", every="1h")
    bench.advance(hours=1)
    assert sorted(bench.fired()) == [*hours(1), *hours(1, name="lost")]
    assert "no task 'gone:task' is registered" in caplog.text
    assert "no task 'gone:task'" in bench.app.schedules.info("lost").problem


def test_a_queue_whose_key_is_anothers_stops_no_other_queue(bench: Bench) -> None:
    define(bench)
    define(bench, name="elsewhere", options={"queue": "other"})
    keys = bench.app.store.keys("default")
    bench.pool.command("DEL", keys.hands)
    bench.pool.command("SET", keys.hands, "a string")
    bench.advance(hours=1, seconds=5)
    assert bench.fired("other") == hours(1, name="elsewhere")


def test_a_missing_schedule_is_answered_with_the_nearest_name(bench: Bench) -> None:
    define(bench)
    with pytest.raises(ScheduleNotFound, match="did you mean 'hourly'"):
        bench.app.schedules.pause("hourley")


def test_many_schedules_that_are_due_at_once_fire_in_few_calls(bench: Bench) -> None:
    for number in range(600):
        bench.app.schedule("work", name=f"s{number}", cron="0 * * * *")
    bench.sync()
    calls: list[int] = []
    link = bench.scheduler._link
    run = link.run

    def counted(transition: Any, *more: Any) -> Any:
        if transition.script.name == "tick":
            calls.append(int(transition.args[2]))
        return run(transition, *more)

    link.run = counted  # type: ignore[method-assign, assignment]
    bench.advance(hours=1)
    assert len(bench.fired()) == 600
    assert len(calls) == 3
    assert local_of("s0", 1_767_229_200_000) in bench.fired()
