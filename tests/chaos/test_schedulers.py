"""Several schedulers at once, killed, stopped and cut off while ticks come every second: each fires once.

The verdict is reached from the queue itself: no worker runs, so every job that was ever enqueued is in it,
and its id says for which schedule and which second it is.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ferryman import Ferryman, StoreError
from ferryman.scheduler.clock import ServerClock
from ferryman.scheduler.engine import Engine
from ferryman.scheduler.lease import Lease
from ferryman.schedules.sync import sync
from tests.chaos.arena import faked
from tests.support.proxy import Proxy, is_script
from tests.support.scheduler_process import SchedulerProcess, leader_of
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

MODULE = "tests.chaos.schedules:app"
QUEUE = "clock"
SEED = int(os.environ.get("FERRYMAN_CHAOS_SEED", "0")) or random.randrange(1, 1 << 30)


@pytest.fixture
def app(server: RedisServer, prefix: str) -> Iterator[Ferryman]:
    found = Ferryman(server.url, prefix=prefix)
    found.task(name="note")(lambda: None)
    yield found
    found.close()


def seconds_of(app: Ferryman) -> dict[str, list[int]]:
    """The seconds for which each schedule has a job, in the order of their arrival."""
    found: dict[str, list[int]] = {}
    for job in app.queue(QUEUE).jobs():
        name, _, text = job.local.partition(":")
        at = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        found.setdefault(name, []).append(int(at.timestamp()))
    return found


def assert_each_second_once(app: Ferryman, names: set[str]) -> None:
    found = seconds_of(app)
    assert set(found) == names
    for name, fired in found.items():
        doubled = [second for second, times in Counter(fired).items() if times > 1]
        assert not doubled, f"{name} fired twice: {doubled} (seed {SEED})"
        missing = set(range(min(fired), max(fired) + 1)) - set(fired)
        assert not missing, f"{name} never fired: {sorted(missing)} (seed {SEED})"


def last_second(app: Ferryman, name: str = "second-0") -> int:
    return max(seconds_of(app).get(name, [0]))


def wait_for_ticks(app: Ferryman, *, after: int) -> None:
    wait_until(lambda: last_second(app) > after, 20, "ticks come")


def wait_for_another(app: Ferryman, leader: str) -> None:
    wait_until(lambda: leader_of(app.store) not in {"", leader}, 30, "another leads")


EVERY = {f"second-{number}" for number in range(5)} | {"catch-up"}


def test_leaders_are_killed_and_stopped_and_every_second_has_its_tick_once(
    server: RedisServer, prefix: str, app: Ferryman
) -> None:
    drawn = random.Random(SEED)
    with contextlib.ExitStack() as stack:
        pack = [stack.enter_context(SchedulerProcess(server.url, prefix, MODULE)) for _ in range(3)]
        for member in pack:
            member.wait_up()
        stopped: list[SchedulerProcess] = []
        for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM):
            name = wait_until(lambda: leader_of(app.store), 20, "somebody leads")
            leader = next(member for member in pack if f"-{member.pid}-" in name)
            wait_for_ticks(app, after=last_second(app))
            threading.Event().wait(drawn.uniform(0, 0.5))  # not to wait for something: any moment will do
            leader.send(number)
            struck = time.monotonic()
            if number is signal.SIGSTOP:
                stopped.append(leader)
            else:
                pack.remove(leader)
                for member in stopped:  # what was believed to be dead comes back
                    member.send(signal.SIGCONT)
            wait_for_another(app, name)
            assert time.monotonic() - struck < 15, "others take over within seconds"
        wait_for_ticks(app, after=last_second(app) + 1)
    assert_each_second_once(app, EVERY)


@pytest.mark.usefixtures("faketime")
def test_a_host_whose_clock_jumps_by_days_fires_each_second_once(
    server: RedisServer, prefix: str, app: Ferryman, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    with SchedulerProcess(server.url, prefix, MODULE, environment=faked(clock)).wait_up() as alone:
        for jump in ("+0", "+3d", "-2d", "+0"):
            clock.write_text(jump)
            wait_for_ticks(app, after=last_second(app) + 2)
        assert alone.end() == 0, alone.output()
    assert_each_second_once(app, EVERY)
    assert abs(last_second(app) - time.time()) < 60, "the server's clock is the clock"


def test_a_scheduler_that_was_stopped_for_long_catches_up_by_each_schedules_policy(
    server: RedisServer, prefix: str, app: Ferryman
) -> None:
    with SchedulerProcess(server.url, prefix, MODULE).wait_up() as alone:
        wait_until(lambda: last_second(app, "catch-up"), 20, "ticks come")
        alone.send(signal.SIGSTOP)
        mark = last_second(app)
        wait_until(lambda: time.time() > mark + 8, 20)
        alone.send(signal.SIGCONT)
        wait_until(lambda: last_second(app, "catch-up") > mark + 9, 20, "ticks come again")
        assert alone.end() == 0
    assert_each_second_once(app, EVERY)
    kinds = Counter(run.kind for run in app.schedules.history("catch-up", 100))
    assert kinds["late"] >= 2


def test_a_server_that_restarts_costs_no_tick(prefix: str) -> None:
    with (
        RedisServer(aof=True, args=["--appendfsync", "always"]) as own,
        SchedulerProcess(own.url, prefix, MODULE) as alone,
    ):
        alone.wait_up()
        app = Ferryman(own.url, prefix=prefix, patience_s=20)
        app.task(name="note")(lambda: None)
        wait_until(lambda: last_second(app), 20, "ticks come")
        own.kill()
        threading.Event().wait(1.5)  # an outage has a length
        own.restart()
        mark = last_second(app)
        wait_until(lambda: last_second(app) > mark + 2, 30, "ticks come again")
        assert alone.end() == 0
        assert_each_second_once(app, EVERY)
        app.close()


@pytest.mark.parametrize("kind", ["lose_reply", "refuse"])
@pytest.mark.parametrize("step", ["lead", "look", "tick"])
def test_a_connection_that_breaks_at_any_step_of_a_tick_costs_none_and_doubles_none(
    server: RedisServer, prefix: str, kind: str, step: str
) -> None:
    """In this process, so that the fault strikes exactly there; another scheduler stands by."""
    with Proxy(server.unix_url) as proxy:
        app, direct = Ferryman(proxy.url, prefix=prefix), Ferryman(server.url, prefix=prefix)
        for one in (app, direct):
            one.task(name="note")(lambda: None)
        for name in ("a", "b"):
            direct.schedule("note", name=name, every="1s", grace="5m", options={"queue": QUEUE})
        direct.store.drive(sync(direct, "code:test", direct.declared))
        pair = [_engine(app, "first"), _engine(direct, "second")]
        wait_until(lambda: _turns(pair) and last_second(direct, "a"), 20, "ticks come")
        fault = getattr(proxy, kind)(is_script(step), times=2)
        wait_until(lambda: _turns(pair) and fault.struck == 2, 20, "the fault strikes")
        mark = last_second(direct, "a")
        wait_until(lambda: _turns(pair) and last_second(direct, "b") > mark + 1, 30, "ticks come again")
        assert_each_second_once(direct, {"a", "b"})
        app.close()
        direct.close()


def _engine(app: Ferryman, name: str) -> Engine:
    return Engine(app, app.store.link(), Lease(app.store.fleet_keys, name, 2000), ServerClock())


def _turns(engines: list[Engine]) -> bool:
    for engine in engines:
        try:
            engine.turn()
        except StoreError:  # what the process does: a new connection, and trust in nothing
            engine._link.close()
            engine.forget()
            engine.lease.ask_now()
    return True


def test_a_full_server_makes_ticks_late_and_loses_none(prefix: str) -> None:
    with RedisServer(args=["--maxmemory", "30mb", "--maxmemory-policy", "noeviction"]) as own:
        app = Ferryman(own.url, prefix=prefix)
        app.task(name="note")(lambda: None)
        app.schedule("note", name="a", every="1s", grace="5m", options={"queue": QUEUE})
        app.store.drive(sync(app, "code:test", app.declared))
        engine = _engine(app, "only")
        wait_until(lambda: _turns([engine]) and last_second(app, "a"), 20, "ticks come")
        with own.client() as raw:
            raw.config_set("maxmemory", "1")
            mark = last_second(app, "a")
            wait_until(lambda: _turns([engine]) and time.time() > mark + 3, 20)
            assert last_second(app, "a") <= mark + 1
            raw.config_set("maxmemory", "30mb")
        wait_until(lambda: _turns([engine]) and last_second(app, "a") > mark + 3, 30, "ticks come again")
        assert_each_second_once(app, {"a"})
        app.close()
