"""The testing kit: jobs that run when the test says so, through the code that workers use."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest

from ferryman import (
    Cancellation,
    ConfigurationError,
    Ferryman,
    InvalidArguments,
    InvalidOption,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobInfo,
    JobNotFound,
    Reject,
    ResultTimeout,
    Retry,
    Snooze,
    UnknownTask,
    current_job,
)
from ferryman.interrupts import Cancelled, TimeLimit
from ferryman.testing import Kit, attach

DAY = timedelta(days=1)
SHOP_OPENED = datetime(2031, 5, 4, 12, tzinfo=UTC)


class Shop:
    """An app whose store would be unreachable, and what its tasks did."""

    def __init__(self) -> None:
        self.app = app = Ferryman("redis://127.0.0.1:1/0", patience_s=0)
        self.log: list[Any] = []

        @app.task(queue="mail", retry=Retry(2, base=10))
        def send(user: int, subject: str = "hello") -> str:
            self.log.append((user, subject))
            if user < 0:
                raise LookupError(f"no user {user}")
            return f"{subject} to {user}"

        @app.task(queue="stock")
        async def count(item: str) -> int:
            await asyncio.sleep(0)
            self.log.append(item)
            return len(item)

        @app.task(queue="mail", retry=None)
        def call(what: list[int]) -> None:
            self.log.append(what)
            signal = {1: Retry(3, delay=5), 2: Snooze(60), 3: Reject("never")}.get(what[0])
            if signal is not None:
                raise signal

        self.send, self.count, self.call = send, count, call


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def kit(shop: Shop) -> Iterator[Kit]:
    with attach(shop.app) as attached:
        yield attached


# -- draining ------------------------------------------------------------------------------------------------


def test_nothing_runs_before_the_test_says_so(shop: Shop, kit: Kit) -> None:
    job = shop.send.enqueue(1)
    assert (job.state, shop.log) == ("queued", [])


def test_drain_runs_sync_and_async_tasks_and_keeps_their_results(shop: Shop, kit: Kit) -> None:
    sent, counted = shop.send.enqueue(1, subject="hi"), shop.count.enqueue("oar")
    done = kit.drain()
    assert (done.succeeded, done.failed, len(done)) == (2, 0, 2)
    assert (sent.result(), counted.result()) == ("hi to 1", 3)
    assert (sent.state, shop.log) == ("succeeded", [(1, "hi"), "oar"])


def test_drain_runs_what_jobs_enqueue_in_their_turn(shop: Shop, kit: Kit) -> None:
    @shop.app.task(queue="mail")
    def fan_out(users: list[int]) -> None:
        shop.send.enqueue_many([(user,) for user in users])

    fan_out.enqueue([1, 2, 3])
    assert kit.drain().succeeded == 4
    assert [user for user, _ in shop.log] == [1, 2, 3]


def test_jobs_of_a_queue_run_in_the_order_in_which_they_were_enqueued(shop: Shop, kit: Kit) -> None:
    for user in range(20):
        shop.send.options(delay=60).enqueue(user)
    kit.clock.advance(61)
    kit.drain()
    assert [user for user, _ in shop.log] == list(range(20))


def test_a_lifo_queue_is_worked_from_its_end_and_a_priority_jumps_the_line(shop: Shop, kit: Kit) -> None:
    shop.app.queue("mail", order="lifo")
    for user in range(3):
        shop.send.enqueue(user)
    shop.send.options(priority=5).enqueue(99)
    kit.drain()
    assert [user for user, _ in shop.log] == [99, 2, 1, 0]


def test_named_queues_are_worked_in_that_order_and_no_others(shop: Shop, kit: Kit) -> None:
    shop.send.enqueue(1)
    shop.count.enqueue("oar")
    shop.count.options(queue="other").enqueue("mast")
    assert kit.drain("stock", "mail").succeeded == 2
    assert shop.log == ["oar", (1, "hello")]
    kit.assert_enqueued(shop.count, "mast", queue="other")


def test_a_paused_queue_keeps_its_jobs(shop: Shop, kit: Kit) -> None:
    shop.send.enqueue(1)
    shop.send.options(delay=5).enqueue(2)
    shop.app.queue("mail").pause()
    assert len(kit.drain(ahead=60)) == 0
    shop.app.queue("mail").resume()
    assert kit.drain().succeeded == 2


def test_jobs_that_enqueue_themselves_without_end_fail_the_test(shop: Shop, kit: Kit) -> None:
    @shop.app.task(name="shop:again")
    def again(n: int) -> None:
        again.enqueue(n + 1)

    again.enqueue(0)
    with pytest.raises(AssertionError, match=r"more than 10 jobs, the last was shop:again\(10\)"):
        kit.drain(most=10)


def test_step_runs_one_job_and_says_what_became_of_it(shop: Shop, kit: Kit) -> None:
    job = shop.send.enqueue(1)
    shop.send.enqueue(2)
    run = kit.step()
    assert run is not None
    assert (run.job, run.task, run.attempt, run.became, run.value) == (
        job, shop.send.name, 1, "succeeded", "hello to 1",
    )  # fmt: skip
    assert (run.args, dict(run.kwargs), run.error) == ((1,), {}, None)
    assert (len(kit.jobs()), kit.step() is not None, kit.step()) == (1, True, None)


def test_run_takes_one_certain_job_before_its_time_and_its_turn(shop: Shop, kit: Kit) -> None:
    first, later = shop.send.enqueue(1), shop.send.options(delay=DAY).enqueue(2)
    run = kit.run(later)
    assert run is not None
    assert (run.job, first.state, later.state) == (later, "queued", "succeeded")
    assert kit.run(later) is None


def test_drain_repeats_nothing_that_was_done(shop: Shop, kit: Kit) -> None:
    shop.send.enqueue(1)
    kit.drain()
    assert len(kit.drain()) == 0
    assert [run.args for run in kit.runs] == [(1,)]


# -- failures ------------------------------------------------------------------------------------------------


def test_a_failure_is_retried_at_the_longest_wait_of_its_policy_until_it_is_dead(
    shop: Shop, kit: Kit
) -> None:
    kit.clock.freeze(SHOP_OPENED)
    job = shop.send.enqueue(-1)
    first = kit.drain()
    assert (first.failed, first.retried, first.dead) == (1, 1, 0)
    assert (job.state, job.info().due_at) == ("scheduled", SHOP_OPENED + timedelta(seconds=10))
    rest = kit.drain(ahead=math.inf)
    assert (rest.failed, rest.retried, rest.dead) == (2, 1, 1)
    assert kit.clock.now() == SHOP_OPENED + timedelta(seconds=10 + 20)
    assert [letter.id for letter in kit.dead] == [job.id]
    with pytest.raises(JobFailed, match="no user -1"):
        job.result()


def test_a_dead_letter_can_be_revived_and_run(shop: Shop, kit: Kit) -> None:
    job = shop.call.enqueue([3])
    assert kit.drain().dead == 1
    assert job.retry()
    assert (job.state, kit.drain().dead) == ("queued", 1)


def test_a_failure_raises_the_tasks_own_error_on_demand(shop: Shop, kit: Kit) -> None:
    job = shop.send.enqueue(-1)
    with pytest.raises(LookupError, match="no user -1"):
        kit.drain(raise_on_failure=True)
    assert job.state == "scheduled"
    assert [run.became for run in kit.runs] == ["retried"]


def test_a_kit_may_raise_failures_by_default(shop: Shop) -> None:
    with attach(shop.app, raise_on_failure=True) as kit:
        shop.send.enqueue(-1)
        with pytest.raises(LookupError):
            kit.step()
        kit.clock.advance(DAY)
        assert kit.drain(raise_on_failure=False).failed == 1


def test_a_retry_that_was_asked_for_and_a_snooze_are_no_failures(shop: Shop, kit: Kit) -> None:
    @shop.app.task(retry=1, name="shop:patient")
    def patient() -> None:
        if current_job().attempt == 1:
            raise Retry(delay=5)

    patient.enqueue()
    snoozed = shop.call.enqueue([2])
    done = kit.drain(raise_on_failure=True)
    assert (done.failed, done.retried, done.snoozed, done.errors) == (0, 1, 1, [])
    assert snoozed.info().attempt == 0
    assert kit.drain("default", ahead=5).succeeded == 1


def test_a_rejected_job_is_dead_at_once(shop: Shop, kit: Kit) -> None:
    shop.call.enqueue([3])
    done = kit.drain()
    assert (done.dead, str(done.errors[0])) == (1, "never")


def test_a_retry_beyond_the_tasks_limit_is_a_failure(shop: Shop, kit: Kit) -> None:
    shop.call.enqueue([1])
    done = kit.drain()
    assert (done.dead, done.failed) == (1, 1)


def test_a_job_of_an_unknown_task_raises_and_stays_in_its_queue(shop: Shop, kit: Kit) -> None:
    job = shop.app.queue("mail").enqueue("elsewhere:task", 1)
    with pytest.raises(UnknownTask, match="elsewhere:task"):
        kit.drain()
    assert job.state == "queued"


def test_ctrl_c_in_a_job_ends_the_test_run_and_gives_the_job_back(shop: Shop, kit: Kit) -> None:
    @shop.app.task(name="shop:interrupted")
    def interrupted() -> None:
        raise KeyboardInterrupt

    job = interrupted.enqueue()
    with pytest.raises(KeyboardInterrupt):
        kit.drain()
    assert job.state == "queued"


def test_pytest_fail_inside_a_job_fails_the_test(shop: Shop, kit: Kit) -> None:
    @shop.app.task(name="shop:asserting")
    async def asserting() -> None:
        pytest.fail("from inside")

    asserting.enqueue()
    with pytest.raises(pytest.fail.Exception, match="from inside"):
        kit.drain()


def test_a_job_whose_worker_is_lost_runs_again_under_the_same_number(shop: Shop, kit: Kit) -> None:
    job = shop.send.enqueue(1)
    lost = kit.step(lose_worker=True)
    assert lost is not None
    assert (lost.became, lost.outcome, job.state, job.info().crashes) == ("requeued", None, "queued", 1)
    again = kit.step()
    assert again is not None
    assert (again.attempt, again.became) == (1, "succeeded")
    assert shop.log == [(1, "hello"), (1, "hello")]


def test_a_job_under_which_too_many_workers_were_lost_is_dead(shop: Shop, kit: Kit) -> None:
    job = shop.send.enqueue(1)
    became = [run.became for _ in range(3) if (run := kit.step(lose_worker=True))]
    assert became == ["requeued", "requeued", "dead"]
    assert (job.state, len(kit.drain())) == ("dead", 0)


# -- what a job sees -----------------------------------------------------------------------------------------


def test_arguments_make_their_way_through_the_store(shop: Shop, kit: Kit) -> None:
    given = [7]
    shop.call.enqueue(given)
    given.append(8)
    kit.drain()
    assert shop.log == [[7]]
    with pytest.raises(InvalidArguments):
        shop.call.enqueue({"no": "list"})  # type: ignore[arg-type]


def test_a_job_sees_its_context_and_its_attempts(shop: Shop, kit: Kit) -> None:
    seen = []

    @shop.app.task(retry=1, name="shop:curious")
    def curious() -> None:
        job = current_job()
        seen.append((job.id, job.attempt, job.queue, dict(job.meta)))
        if job.attempt == 1:
            raise ValueError

    job = curious.options(meta={"tenant": 7}).enqueue()
    kit.drain(ahead=60)
    assert seen == [(job.id, 1, "default", {"tenant": 7}), (job.id, 2, "default", {"tenant": 7})]
    with pytest.raises(LookupError):
        current_job()


def test_hooks_wrap_the_enqueue_and_the_run(shop: Shop, kit: Kit) -> None:
    @shop.app.around_enqueue
    def enqueueing(request: Any) -> Iterator[None]:
        shop.log.append(f"enqueue {request.task.rpartition('.')[2]}")
        yield

    @shop.app.around_run
    def running(job: Any) -> Iterator[None]:
        shop.log.append("before")
        yield
        shop.log.append("after")

    shop.send.enqueue(1)
    shop.count.enqueue("oar")
    kit.drain("mail", "stock")
    assert shop.log == [
        "enqueue send",
        "enqueue count",
        "before",
        (1, "hello"),
        "after",
        "before",
        "oar",
        "after",
    ]


def test_startup_and_shutdown_hooks_run_on_demand_on_the_loop_of_the_jobs(shop: Shop) -> None:
    loops = []

    @shop.app.on_startup
    async def begin() -> None:
        loops.append(asyncio.get_running_loop())

    @shop.app.on_shutdown
    def end() -> None:
        shop.log.append("shut down")

    @shop.app.task(name="shop:looping")
    async def looping() -> None:
        loops.append(asyncio.get_running_loop())

    with attach(shop.app, startup=True) as kit:
        looping.enqueue()
        kit.drain()
    assert loops[0] is loops[1]
    assert shop.log == ["shut down"]
    with attach(shop.app):
        assert len(loops) == 2


def test_an_async_task_can_be_drained_under_a_running_loop(shop: Shop, kit: Kit) -> None:
    async def within() -> int:
        shop.count.enqueue("oar")
        return kit.drain().succeeded

    assert asyncio.run(within()) == 1


def test_adrain_runs_coroutines_on_the_running_loop_and_functions_beside_it(shop: Shop, kit: Kit) -> None:
    where: list[Any] = []

    @shop.app.task(name="shop:on_the_loop")
    async def on_the_loop() -> None:
        where.append(asyncio.get_running_loop())

    @shop.app.task(name="shop:beside")
    def beside() -> None:
        where.append(threading.current_thread())

    async def within() -> None:
        await on_the_loop.aenqueue()
        job = await shop.count.aenqueue("oar")
        await beside.aenqueue()
        done = await kit.adrain()
        assert (done.succeeded, await job.aresult()) == (3, 3)
        assert where[0] is asyncio.get_running_loop()
        assert await kit.astep() is None

    asyncio.run(within())
    assert where[1] is not threading.current_thread()


def test_timeouts_are_held_only_on_demand(shop: Shop) -> None:
    @shop.app.task(timeout=0.02, retry=None, name="shop:slow")
    def slow(rounds: int) -> None:
        for _ in range(rounds):
            threading.Event().wait(0.005)

    @shop.app.task(timeout=0.02, retry=None, name="shop:idle")
    async def idle() -> None:
        await asyncio.Event().wait()

    with attach(shop.app) as kit:
        slow.enqueue(8)
        assert kit.drain().succeeded == 1
    with attach(shop.app, enforce_timeouts=True) as kit:
        slow.enqueue(10_000)
        idle.enqueue()
        slow.enqueue(0)
        done = kit.drain()
        assert [type(error) for error in done.errors] == [TimeLimit, TimeLimit]
        assert (done.succeeded, [letter.attempts[0].outcome for letter in kit.dead]) == (
            1,
            ["timeout", "timeout"],
        )


# -- results -------------------------------------------------------------------------------------------------


def test_a_result_that_nobody_works_at_is_not_waited_for(shop: Shop, kit: Kit) -> None:
    job = shop.send.enqueue(1)
    with pytest.raises(ResultTimeout, match=r"is queued, and no worker is at work in a test: call drain\(\)"):
        job.result()
    with pytest.raises(ResultTimeout):
        asyncio.run(job.aresult(timeout=3600))


# -- asking and asserting ------------------------------------------------------------------------------------


def test_jobs_are_listed_in_the_order_of_their_enqueue_by_queue_task_and_state(shop: Shop, kit: Kit) -> None:
    shop.send.enqueue(1)
    shop.count.options(delay=5).enqueue("oar")
    shop.send.enqueue(2)
    assert [job.args for job in kit.jobs()] == [(1,), ("oar",), (2,)]
    assert [job.args for job in kit.jobs(queue="mail")] == [(1,), (2,)]
    assert [job.args for job in kit.jobs(task=shop.count)] == [("oar",)]
    assert [job.args for job in kit.jobs(state="scheduled")] == [("oar",)]
    with pytest.raises(InvalidOption, match="one of queued, scheduled, running, dead"):
        kit.jobs(state="succeeded")


def test_assert_enqueued_compares_arguments_by_parameter(shop: Shop, kit: Kit) -> None:
    shop.send.enqueue(1, "hello")
    calls: list[Callable[[], JobInfo]] = [
        lambda: kit.assert_enqueued(shop.send),
        lambda: kit.assert_enqueued(shop.send, 1),
        lambda: kit.assert_enqueued(shop.send, user=1, subject="hello"),
        lambda: kit.assert_enqueued(shop.send, ANY, subject=ANY),
        lambda: kit.assert_enqueued(shop.send.name, 1, queue="mail", count=1),
    ]
    assert [call().args for call in calls] == [(1, "hello")] * 5
    kit.assert_not_enqueued(shop.send, 2)
    kit.assert_not_enqueued(shop.send, 1, subject="other")
    kit.assert_not_enqueued(shop.send, queue="stock")
    with pytest.raises(InvalidArguments, match="did you mean 'subject'"):
        kit.assert_enqueued(shop.send, 1, subjekt="hello")


def test_assert_enqueued_compares_arguments_as_they_travel(shop: Shop, kit: Kit) -> None:
    @shop.app.task(name="shop:route")
    def route(stops: Sequence[str]) -> None:
        return None

    route.enqueue(("pier", "isle"))
    assert kit.assert_enqueued(route, ("pier", "isle")).args == (["pier", "isle"],)
    kit.assert_enqueued(route, ["pier", "isle"])


def test_assert_enqueued_knows_when_a_job_is_due(shop: Shop, kit: Kit) -> None:
    shop.send.options(delay=3600).enqueue(1)
    kit.assert_enqueued(shop.send, within=3600)
    kit.assert_not_enqueued(shop.send, within=timedelta(minutes=59))
    kit.clock.advance(120)
    kit.assert_enqueued(shop.send, within=timedelta(minutes=59))


def test_a_failed_assertion_lists_what_there_is(shop: Shop, kit: Kit) -> None:
    shop.send.enqueue(1)
    with pytest.raises(AssertionError) as missing:
        kit.assert_enqueued(shop.send, 2, queue="mail", within=5)
    assert str(missing.value).splitlines() == [
        f"expected a job {shop.send.name}(2) in queue 'mail' due within 5 s to wait, found 0; these wait:",
        f"  {shop.send.name}(1) in queue 'mail', queued",
    ]
    with pytest.raises(AssertionError, match="found 1; these wait"):
        kit.assert_enqueued(shop.send, count=2)
    with pytest.raises(AssertionError, match="expected no job"):
        kit.assert_not_enqueued(shop.send)


def test_assert_ran_looks_at_the_attempts(shop: Shop, kit: Kit) -> None:
    shop.send.enqueue(1)
    shop.send.enqueue(-1)
    kit.assert_not_ran(shop.send)
    kit.drain(ahead=math.inf)
    assert kit.assert_ran(shop.send, 1, times=1).became == "succeeded"
    kit.assert_ran(shop.send, -1, times=3)
    with pytest.raises(AssertionError, match=r"expected a run of .*send\(5\), found 0; these ran:\n"):
        kit.assert_ran(shop.send, 5)
    with pytest.raises(AssertionError, match="expected no run"):
        kit.assert_not_ran(shop.send, -1)


# -- the clock -----------------------------------------------------------------------------------------------


def test_a_delayed_job_is_due_when_the_clock_says_so(shop: Shop, kit: Kit) -> None:
    kit.clock.freeze(SHOP_OPENED)
    shop.send.options(delay=3600).enqueue(1)
    shop.send.options(at=SHOP_OPENED + DAY).enqueue(2)
    kit.clock.advance(timedelta(seconds=3599.999))
    assert len(kit.drain()) == 0
    kit.clock.advance(0.001)
    assert kit.drain().succeeded == 1
    kit.clock.set(SHOP_OPENED + DAY)
    assert kit.drain().succeeded == 1


def test_drain_ahead_moves_the_clock_from_one_due_moment_to_the_next(shop: Shop, kit: Kit) -> None:
    moments = []

    @shop.app.task(name="shop:noting")
    def noting(after: int) -> None:
        moments.append((after, kit.clock.now() - SHOP_OPENED))
        if after == 10:
            noting.options(delay=15).enqueue(25)

    kit.clock.freeze(SHOP_OPENED)
    for delay in (30, 10, 50):
        noting.options(delay=delay).enqueue(delay)
    assert kit.drain(ahead=timedelta(seconds=40)).succeeded == 3
    assert moments == [(seconds, timedelta(seconds=seconds)) for seconds in (10, 25, 30)]
    assert kit.clock.now() == SHOP_OPENED + timedelta(seconds=40)


def test_expiry_and_the_time_that_results_are_kept_follow_the_clock(shop: Shop, kit: Kit) -> None:
    late = shop.send.options(expires=60).enqueue(1)
    kept = shop.count.enqueue("oar")
    kit.drain("stock")
    kit.clock.advance(61)
    done = kit.drain()
    assert (done.expired, shop.log) == (1, ["oar"])
    with pytest.raises(JobExpired):
        late.result()
    assert kept.result() == 3
    kit.clock.advance(shop.app.settings.result_ttl_s)
    with pytest.raises(JobNotFound):
        kept.result()


def test_ids_sort_in_the_order_of_their_enqueue_while_the_clock_stands(shop: Shop, kit: Kit) -> None:
    kit.clock.freeze()
    found = [shop.send.enqueue(user).local for user in range(50)]
    found += [job.local for job in shop.send.enqueue_many([(user,) for user in range(50)])]
    found.append(shop.send.enqueue(1).local)
    assert found == sorted(found)


def test_the_clock_runs_on_from_where_it_was_moved_to(shop: Shop, kit: Kit) -> None:
    kit.clock.set(SHOP_OPENED)
    assert timedelta(0) <= kit.clock.now() - SHOP_OPENED < timedelta(seconds=30)
    kit.clock.freeze()
    stood = kit.clock.now()
    assert kit.clock.advance(5) == kit.clock.now() == stood + timedelta(seconds=5)
    kit.clock.resume()
    assert kit.clock.now() - stood >= timedelta(seconds=5)


def test_the_clock_refuses_moments_that_are_none(kit: Kit) -> None:
    with pytest.raises(InvalidOption, match="needs a time zone"):
        kit.clock.set(datetime(2031, 1, 1))  # noqa: DTZ001 (that is the point)
    with pytest.raises(InvalidOption, match="moves back"):
        kit.clock.advance(-1)


# -- attaching -----------------------------------------------------------------------------------------------


def test_an_app_gets_its_own_store_back(shop: Shop) -> None:
    store, producer = shop.app.store, shop.app.producer
    with attach(shop.app) as kit:
        shop.send.enqueue(1)
        assert shop.app.store is not store
        assert len(kit.jobs()) == 1
    assert (shop.app.store, shop.app.producer) == (store, producer)
    kit.detach()
    with pytest.raises(ConfigurationError, match="not attached"):
        kit.drain()


def test_each_kit_starts_empty(shop: Shop) -> None:
    with attach(shop.app):
        shop.send.enqueue(1)
    with attach(shop.app) as kit:
        assert (kit.jobs(), kit.runs, len(kit.drain())) == ([], [], 0)


def test_kits_on_one_app_are_detached_in_reverse(shop: Shop) -> None:
    outer = attach(shop.app)
    shop.send.enqueue(1)
    inner = attach(shop.app)
    assert inner.jobs() == []
    with pytest.raises(ConfigurationError, match="detach that one first"):
        outer.detach()
    inner.detach()
    assert outer.drain().succeeded == 1
    outer.detach()


def test_a_startup_hook_that_fails_leaves_the_app_as_it_was(shop: Shop) -> None:
    store = shop.app.store

    @shop.app.on_startup
    def broken() -> None:
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        attach(shop.app, startup=True)
    assert shop.app.store is store


@pytest.mark.parametrize("lose_worker", [False, True])
def test_a_running_job_is_cancelled_as_by_a_worker(lose_worker: bool) -> None:
    app = Ferryman("redis://127.0.0.1:1/0", patience_s=0)
    reached: list[Any] = []

    @app.task(result_ttl=60, retry=5)
    def stops_itself() -> None:
        reached.append(app.job(current_job().id).cancel(running=True))
        while True:
            pass

    @app.task(result_ttl=60, retry=5)
    async def stops_itself_too() -> None:
        reached.append(await app.job(current_job().id).acancel(running=True))
        await asyncio.sleep(600)

    with attach(app) as kit:
        jobs = [stops_itself.enqueue(), stops_itself_too.enqueue()]
        became = [run.became for run in (kit.step(lose_worker=lose_worker), kit.step()) if run is not None]
        assert became == ["cancelled", "cancelled"]
        for job in jobs:
            assert job.state == "cancelled"
            with pytest.raises(JobCancelled):
                job.result()
        assert len(kit.drain()) == 0
    assert reached[0] is Cancellation.ASKED


def test_a_job_that_was_asked_to_end_may_still_succeed() -> None:
    app = Ferryman("redis://127.0.0.1:1/0", patience_s=0)

    @app.task(result_ttl=60)
    def stubborn() -> bool:
        try:
            app.job(current_job().id).cancel(running=True)
            while True:
                pass
        except Cancelled:
            return current_job().cancelled

    with attach(app) as kit:
        job = stubborn.enqueue()
        assert kit.drain().succeeded == 1
        assert job.result() is True
