"""Any sequence of steps, by any holders, repeated or not: the queue in Redis equals the model in plain
Python, and every job is in exactly one place after every step.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ferryman.store import Store, Transition, inspection, transitions
from ferryman.store.transitions import Burial, Kept, Later
from tests.support.profiles import effort
from tests.support.queue_model import SUCCESS, QueueModel, observed
from tests.support.server import RedisServer
from tests.support.snapshot import Snapshot, assert_one_place, limited_in_time, snapshot

R = TypeVar("R")

HOUR_MS = 3_600_000
HOLDERS = ["ada", "bob", "eve"]
CRASH_LIMIT = 2
MINUTE = 29_000_000
LEFTOVERS = {"seq", "failures"}  # a counter, and a hash that is capped
PASSING = {"bell"}  # a token that wakes somebody for nothing, once

some = st.integers(0, 5)
picks = st.lists(st.integers(0, 30), max_size=5)
repeated = st.booleans()
lanes = st.sampled_from(["", "0", "0", "1"])


class QueueMachine(RuleBasedStateMachine):
    """Rules are the transitions; `repeated` sends one again, as after a lost reply."""

    url: ClassVar[str]
    client_of: ClassVar[Callable[[Store], redis.Redis]]

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(self.url, prefix=f"m-{secrets.token_hex(4)}", timeout_s=5, patience_s=1)
        self.client = type(self).client_of(self.store)
        self.keys = self.store.keys("q")
        self.model = QueueModel()
        self.chosen: set[str] = set()
        self.lifo = False
        self.count = 0
        self.moment = 0  # of what was made due: early in 1970, in the order in which it was made due
        self.clock_moved = False
        self.cancels = 0
        self.calls = 0
        self.sent: list[tuple[str, Transition[Any]]] = []

    # -- machinery -------------------------------------------------------------------------------------------

    def state(self) -> Snapshot:
        return snapshot(self.client, self.keys)

    def once(self, transition: Transition[R]) -> R:
        return self.store.run(transition)

    def run_twice(self, transition: Transition[R], again: bool) -> R:
        """Carry it out, and if `again`, once more: nothing may change by that."""
        reply = self.once(transition)
        if again:
            before = self.state()
            self.once(transition)
            assert self.state() == before, f"{transition.script.name} a second time changed something"
        return reply

    def settle(self, holder: str, transition: Transition[R], again: bool, lane: str) -> R:
        """As `run_twice`, as the next call in one of the holder's lanes; lane '': not numbered."""
        if lane:
            self.calls += 1
            transitions.number(transition, lane, self.calls)
            self.model.settled.setdefault(holder, {})[lane] = self.calls
            self.sent.append((holder, transition))
        return self.run_twice(transition, again)

    def forget_those_who_ended(self) -> None:
        """A name is used once; that it comes back here stands for another, of whom nothing can be late."""
        self.sent = [(holder, step) for holder, step in self.sent if holder in self.model.settled]

    def known(self, numbers: Sequence[int]) -> list[str]:
        """Some ids that exist or existed, the same choice for the same numbers."""
        everything = sorted(self.model.bodies | self.model.ghosts)
        return list(dict.fromkeys(everything[number % len(everything)] for number in numbers if everything))

    def held(self, holder: str, numbers: Sequence[int]) -> list[str]:
        """Ids to act on for a holder: mostly its own, sometimes another's."""
        own = sorted(self.model.held.get(holder, ()))
        picked = [own[number % len(own)] for number in numbers if own and number % 7]
        return list(dict.fromkeys(picked + self.known([number for number in numbers if number % 7 == 0])))

    def adopt(self, place: str, local: str) -> int:
        score = self.client.zscore(getattr(self.keys, place), local)
        assert score is not None, f"{local} is not in {place}"
        return int(score)

    @initialize(lifo=st.booleans())
    def order(self, lifo: bool) -> None:
        self.lifo = lifo

    # -- in --------------------------------------------------------------------------------------------------

    @rule(
        count=st.integers(1, 4),
        priority=st.one_of(st.none(), st.sampled_from([-1000, -1, 0, 1, 2, 1000])),
        cost=st.one_of(st.none(), st.none(), st.floats(0, 1e12), st.sampled_from([0.0, 5.0, 5.5, 7e7])),
        due=st.sampled_from(["", "", "", "later", "past"]),
        repeat=repeated,
    )
    def enqueue_new(
        self, count: int, priority: int | None, cost: float | None, due: str, repeat: bool
    ) -> None:
        locals_ = []
        for _ in range(count):
            self.count += 1
            locals_.append(f"n{self.count:04}")
        self.enqueue(locals_, priority, cost, due, repeat, chosen=False)

    @rule(
        names=st.lists(st.sampled_from(["A", "B", "C", "D"]), min_size=1, max_size=3),
        priority=st.one_of(st.none(), st.none(), st.just(3)),
        due=st.sampled_from(["", "", "later", "past"]),
        repeat=repeated,
    )
    def enqueue_chosen(self, names: list[str], priority: int | None, due: str, repeat: bool) -> None:
        self.enqueue(names, priority, None, due, repeat, chosen=True)

    def enqueue(
        self,
        locals_: list[str],
        priority: int | None,
        cost: float | None,
        due: str,
        repeat: bool,
        *,
        chosen: bool,
    ) -> None:
        moment, text = None, ""
        if due == "past":
            self.moment += 1
            moment, text = self.moment, str(self.moment)
        elif due == "later":
            moment, text = 0, f"+{HOUR_MS}"
        jobs: list[str | bytes] = []
        for local in locals_:
            jobs += [local, b"body of " + local.encode()]
        lane = secrets.token_hex(3)
        step = transitions.enqueue(
            self.keys, lane, 1, jobs, chosen=chosen, due=text, priority=priority, cost_ms=cost
        )
        unique = list(dict.fromkeys(locals_))
        before = set(self.model.bodies)
        existing = self.model.enqueue(unique, due=moment, priority=priority, cost=cost)
        reply = self.run_twice(step, repeat)
        if due == "later":
            for local in self.model.bodies - before:
                self.model.waiting["delayed"][local] = self.adopt("delayed", local)
        duplicates = len(locals_) - len(unique)
        assert reply.created == len(unique) - len(existing)
        assert len(reply.existing) == len(existing) + duplicates
        assert set(existing) <= set(reply.existing)

    # -- out -------------------------------------------------------------------------------------------------

    @rule(holder=st.sampled_from(HOLDERS))
    def register(self, holder: str) -> None:
        if holder in self.model.holders:
            return  # a name is used once; who is still among the holders has not been recovered
        self.once(transitions.register(self.keys, holder, HOUR_MS))
        self.model.leases[holder] = self.adopt("workers", holder)
        self.model.holders.add(holder)

    @rule(holder=st.sampled_from(HOLDERS), limit=st.integers(0, 4), budget=st.sampled_from([1, 2, 500]))
    def fetch(self, holder: str, limit: int, budget: int) -> None:
        now = HOUR_MS
        state, ids = self.model.fetch(holder, limit, lifo=self.lifo, budget=budget, now=now)
        reply = self.once(transitions.fetch(self.keys, holder, limit, lifo=self.lifo, budget=budget))
        assert reply.state.decode() == state
        assert [local.decode() for local in reply.ids] == ids
        assert reply.envelopes == [b"body of " + local for local in reply.ids]
        assert not reply.missing
        if state == "lost":
            return
        self.clock_moved = False
        assert reply.held == len(self.model.held.get(holder, ()))
        if self.model.tries and ids:
            assert [int(made or 0) for made in reply.tries] == [self.model.tries.get(i, 0) for i in ids]
        if self.model.crashes and ids:
            seen = [int((record or b"0:").split(b":")[0]) for record in reply.crashes]
            assert seen == [self.model.crashes.get(i, 0) for i in ids]
        if state == "ok":
            assert reply.more == bool(self.model.line or self.model.ranked)

    @rule(holder=st.sampled_from(HOLDERS), limit=st.integers(1, 4))
    def wake_and_fetch(self, holder: str, limit: int) -> None:
        if holder in self.model.leases and self.client.rpop(self.keys.bell):
            self.fetch(holder, limit, 500)

    @rule(holder=st.sampled_from(HOLDERS), plain=picks, kept=picks, repeat=repeated, lane=lanes)
    def ack(self, holder: str, plain: list[int], kept: list[int], repeat: bool, lane: str) -> None:
        results = self.held(holder, kept)
        without = [local for local in self.held(holder, plain) if local not in results]
        mine = self.model.mine(holder, [*results, *without])
        step = transitions.ack(
            self.keys,
            holder,
            without,
            kept=[Kept(local, HOUR_MS, SUCCESS) for local in results],
            histories=[(local, 0) for local in [*results, *without] if local in self.model.attempts],
            minute=MINUTE,
            counters=[("ok:task", len(mine))] if mine else [],
        )
        refused = self.model.ack(holder, without, results)
        reply = self.settle(holder, step, repeat, lane)
        assert sorted(local.decode() for local in reply.refused) == sorted(refused)
        assert reply.held == len(self.model.held.get(holder, ()))

    @rule(
        holder=st.sampled_from(HOLDERS),
        numbers=picks,
        place=st.sampled_from(["retries", "delayed"]),
        made=st.integers(0, 3),
        repeat=repeated,
        lane=lanes,
    )
    def again_later(
        self, holder: str, numbers: list[int], place: str, made: int, repeat: bool, lane: str
    ) -> None:
        locals_ = self.held(holder, numbers)
        record = b"record" if made else b""
        step_of = transitions.retry if place == "retries" else transitions.snooze
        jobs = [Later(local, HOUR_MS, made, record) for local in locals_]
        refused = self.settle(holder, step_of(self.keys, holder, jobs), repeat, lane)
        own = self.model.mine(holder, locals_)
        for local in own:
            due = 0 if local in self.model.cancels else self.adopt(place, local)
            self.model.later(place, holder, local, made, bool(record), due)
        assert sorted(local.decode() for local in refused) == sorted(set(locals_) - set(own))

    @rule(
        holder=st.sampled_from(HOLDERS),
        numbers=picks,
        made=st.integers(1, 3),
        most=st.sampled_from([100, 100, 2, 0]),
        repeat=repeated,
        lane=lanes,
    )
    def bury(self, holder: str, numbers: list[int], made: int, most: int, repeat: bool, lane: str) -> None:
        self.bury_these(holder, self.held(holder, numbers), made, most, repeat, lane)

    def bury_these(
        self, holder: str, locals_: list[str], made: int, most: int, repeat: bool, lane: str = ""
    ) -> None:
        jobs = [Burial(local, made, b"record", f"print {made}", "task") for local in locals_]
        own = self.model.mine(holder, locals_)
        uncapped = transitions.bury(self.keys, holder, jobs, minute=MINUTE, most=1000, oldest_ms=HOUR_MS)
        refused = self.settle(holder, uncapped, repeat, lane)
        for local in own:
            died = 0 if local in self.model.cancels else self.adopt("dead", local)
            self.model.bury(holder, local, made, f"print {made}", died)
        assert sorted(local.decode() for local in refused) == sorted(set(locals_) - set(own))
        capping = transitions.bury(self.keys, holder, [], minute=MINUTE, most=most, oldest_ms=HOUR_MS)
        self.run_twice(capping, repeat)
        self.model.cap_dead(most)

    @rule(holder=st.sampled_from(HOLDERS), numbers=picks, repeat=repeated, lane=lanes)
    def release(self, holder: str, numbers: list[int], repeat: bool, lane: str) -> None:
        locals_ = self.held(holder, numbers)
        own = self.model.mine(holder, locals_)
        self.model.release(holder, locals_, lifo=self.lifo)
        step = transitions.release(self.keys, holder, locals_, lifo=self.lifo)
        reply = self.settle(holder, step, repeat, lane)
        assert reply.refused == [local.encode() for local in locals_ if local not in own]

    @rule(number=st.integers(0, 1000))
    def a_settlement_that_was_given_up_arrives_late(self, number: int) -> None:
        """Whatever has happened since its repetition."""
        if self.sent:
            before = self.state()
            self.once(self.sent[number % len(self.sent)][1])
            assert self.state() == before

    @rule(holder=st.sampled_from(HOLDERS), numbers=picks, repeat=repeated)
    def announce(self, holder: str, numbers: list[int], repeat: bool) -> None:
        locals_ = self.held(holder, numbers)
        own = self.model.mine(holder, locals_)
        if own:
            self.model.started.setdefault(holder, set()).update(own)
        refused = self.run_twice(transitions.announce(self.keys, holder, locals_), repeat)
        assert refused == [local.encode() for local in locals_ if local not in own]

    # -- leases ----------------------------------------------------------------------------------------------

    @rule(holders=st.lists(st.sampled_from(HOLDERS), unique=True))
    def heartbeat(self, holders: list[str]) -> None:
        lost, asked = self.once(transitions.heartbeat(self.keys, holders, HOUR_MS))
        assert lost == [holder for holder in holders if holder not in self.model.leases]
        assert sorted(asked) == sorted(
            (holder, local) for holder in holders for local in self.model.mine(holder, [*self.model.cancels])
        )
        for holder in holders:
            if holder not in lost:
                self.model.leases[holder] = self.adopt("workers", holder)

    @rule(holder=st.sampled_from(HOLDERS))
    def let_lapse(self, holder: str) -> None:
        if holder in self.model.leases:
            self.client.zadd(self.keys.workers, {holder: 1})
            self.model.leases[holder] = 1

    @rule(holder=st.sampled_from(HOLDERS))
    def lose_the_lease_entry(self, holder: str) -> None:
        """As a recovery that was cut short leaves it."""
        self.client.zrem(self.keys.workers, holder)
        self.model.leases.pop(holder, None)

    @rule()
    def sweep_and_recover_all(self) -> None:
        self.client.delete(self.keys.swept)
        found = self.once(transitions.sweep(self.keys, 60_000))
        lapsed = {holder for holder, ends in self.model.leases.items() if ends == 1}
        assert sorted(found) == sorted(lapsed | (self.model.holders - set(self.model.leases)))
        assert self.once(transitions.sweep(self.keys, 60_000)) == []
        for holder in found:
            self.recover(holder, False, None, True, True)

    @rule(
        holder=st.sampled_from(HOLDERS),
        forced=st.booleans(),
        running=st.one_of(st.none(), picks),
        repeat=repeated,
        bury=st.booleans(),
    )
    def recover(self, holder: str, forced: bool, running: list[int] | None, repeat: bool, bury: bool) -> None:
        named = None if running is None else self.held(holder, running)
        asked = set(self.model.mine(holder, [*self.model.cancels]))
        expected = self.model.recover(
            holder, forced=forced, limit=CRASH_LIMIT, running=named, lifo=self.lifo, now=2
        )
        step = transitions.recover(
            self.keys,
            holder,
            forced=forced,
            limit=CRASH_LIMIT,
            window_ms=HOUR_MS,
            running=named,
            lifo=self.lifo,
        )
        reply = self.run_twice(step, repeat)
        self.forget_those_who_ended()
        assert (reply.left, set(reply.moved), set(reply.condemned)) == expected
        assert set(reply.cancelled) == (set() if reply.left < 0 else asked)
        assert reply.envelopes == [b"body of " + local.encode() for local in reply.condemned]
        assert reply.tries == [self.model.tries.get(local, 0) for local in reply.condemned]
        if bury and reply.condemned:
            self.bury_these(holder, reply.condemned, 1, 100, repeat)
            self.recover(holder, True, [], repeat, False)
            assert holder not in self.model.holders

    @rule(holder=st.sampled_from(HOLDERS), repeat=repeated)
    def retire(self, holder: str, repeat: bool) -> None:
        assert self.run_twice(transitions.retire(self.keys, holder), repeat) == self.model.retire(holder)
        self.forget_those_who_ended()

    @rule(holder=st.sampled_from(HOLDERS))
    def reconcile(self, holder: str) -> None:
        found = self.once(transitions.reconcile(self.keys, holder))
        assert {local.decode() for local in found.ids} == self.model.held.get(holder, set())
        assert found.envelopes == [b"body of " + local for local in found.ids]
        assert [int(made or 0) for made in found.tries] == [
            self.model.tries.get(local.decode(), 0) for local in found.ids
        ]

    # -- time ------------------------------------------------------------------------------------------------

    @rule(place=st.sampled_from(["delayed", "retries"]), numbers=picks)
    def time_passes(self, place: str, numbers: list[int]) -> None:
        waiting = self.model.waiting[place]
        for local in list(dict.fromkeys(sorted(waiting)[n % len(waiting)] for n in numbers if waiting)):
            self.moment += 1
            waiting[local] = self.moment
            self.client.zadd(getattr(self.keys, place), {local: self.moment})
            self.clock_moved = True

    # -- by hand ---------------------------------------------------------------------------------------------

    @rule(numbers=picks, keep=st.booleans(), running=st.booleans(), repeat=repeated)
    def cancel(self, numbers: list[int], keep: bool, running: bool, repeat: bool) -> None:
        for local in self.known(numbers):
            self.cancels += 1
            record = b"cancelled, call %d" % self.cancels if keep else b""
            step = inspection.cancel(self.keys, local, ttl_ms=HOUR_MS, record=record, running=running)
            expected = self.model.cancel(local, record, running)
            assert self.run_twice(step, repeat) == expected
            if expected == "cancelled" and keep:
                self.model.results[local] = record
                assert self.once(step) == "cancelled", "a repetition says what the first call said"

    @rule(local=st.sampled_from(["A", "B", "C", "D"]))
    def result_expires(self, local: str) -> None:
        self.client.delete(self.keys.result(local))
        self.model.results.pop(local, None)

    @rule(numbers=picks, repeat=repeated)
    def revive(self, numbers: list[int], repeat: bool) -> None:
        locals_ = self.known(numbers)
        moved = self.run_twice(inspection.revive(self.keys, locals_), repeat)
        assert moved == self.model.revive(locals_)

    @precondition(lambda self: self.count % 5 == 0)
    @rule(place=st.sampled_from(["ready", "ranked", "delayed", "retries", "dead"]))
    def purge(self, place: str) -> None:
        deleted = 0
        while (purged := self.once(inspection.purge(self.keys, place, batch=3))).entries:
            deleted += purged.jobs
        assert deleted == self.model.purge(place)

    @rule(reason=st.sampled_from(["", "", "deploy"]), repeat=repeated)
    def pause(self, reason: str, repeat: bool) -> None:
        changed = self.run_twice(inspection.pause(self.keys, reason), repeat)
        assert changed == (bool(self.model.paused) != bool(reason))
        self.model.paused = reason

    @rule(numbers=picks)
    def locate(self, numbers: list[int]) -> None:
        for local in self.known(numbers):
            found = self.once(inspection.locate(self.keys, local))
            if local not in self.model.bodies:
                assert found.place == "gone"
                continue
            where: dict[str, Any] = {
                "ready": self.model.line, "ranked": self.model.ranked, "dead": self.model.dead,
                "held": {job for held in self.model.held.values() for job in held}, **self.model.waiting,
            }  # fmt: skip
            assert local in where[found.place]
            assert found.envelope == b"body of " + local.encode()
            assert (found.tries, found.crashes) == (
                self.model.tries.get(local, 0), self.model.crashes.get(local, 0),
            )  # fmt: skip
            assert (found.holder is not None) == (found.place == "held")

    # -- what must always hold -------------------------------------------------------------------------------

    @invariant()
    def the_queue_equals_the_model(self) -> None:
        state = self.state()
        assert_one_place(state)
        assert observed(state) == self.model.expected()
        assert len(state.get("bell", ())) <= 1
        self.somebody_will_wake(state)

    def somebody_will_wake(self, state: Snapshot) -> None:
        """Work is announced by the bell; what is due later, by the bell or by a timer that rings in time."""
        if "bell" in state or self.clock_moved:
            return
        if not self.model.paused:
            assert not self.model.line, "jobs are in the line and the bell is silent"
            assert not self.model.ranked, "ranked jobs wait and the bell is silent"
        due = [at for place in self.model.waiting.values() for at in place.values()]
        if due:
            assert "timer" in state, "nobody watches the clock"
            assert int(state["timer"].split()[1]) <= min(due), "the timer rings too late"

    @invariant()
    def the_survey_counts_right(self) -> None:
        found = self.once(inspection.survey(self.keys))
        model = self.model
        assert (found.ready, found.ranked, found.dead, found.ghosts) == (
            len(model.line), len(model.ranked), len(model.dead), len(model.ghosts),
        )  # fmt: skip
        assert (found.delayed, found.retries) == tuple(len(place) for place in model.waiting.values())
        assert found.held == sum(len(held) for held in model.held.values())
        assert (found.paused or "") == model.paused
        due = [at for place in model.waiting.values() for at in place.values()]
        assert found.next_due_ms == (min(due) if due else None)

    def teardown(self) -> None:
        try:
            self.nothing_is_left_when_everything_is_finished()
        finally:
            names = list(self.client.scan_iter(match=f"{self.store.prefix}*"))
            if names:
                self.client.delete(*names)
            self.store.close()

    def nothing_is_left_when_everything_is_finished(self) -> None:
        self.pause("", False)
        for holder in HOLDERS:
            self.recover(holder, True, None, False, True)
        for place in self.model.waiting:
            waiting = sorted(self.model.waiting[place])
            self.time_passes(place, list(range(len(waiting))))
        self.revive_all_dead()
        self.register("ada")
        while self.model.bodies or self.model.ghosts:
            self.fetch("ada", 3, 500)
            own = sorted(self.model.held.get("ada", ()))
            histories = [(local, 0) for local in own if local in self.model.tries]
            self.once(transitions.ack(self.keys, "ada", own, histories=histories))
            self.model.ack("ada", own, [])
        self.retire("ada", False)
        left = set(self.state()) - limited_in_time(self.client, self.keys)
        assert left <= LEFTOVERS | PASSING, "the jobs are gone, their memory is not"

    def revive_all_dead(self) -> None:
        dead = sorted(self.model.dead)
        self.once(inspection.revive(self.keys, dead))
        self.model.revive(dead)


def raw_client(server: RedisServer) -> Callable[[Store], redis.Redis]:
    client = server.client()
    return lambda _: client


def check(url: str, client_of: Callable[[Store], redis.Redis], quick: int, thorough: int) -> None:
    machine = type("Machine", (QueueMachine,), {"url": url, "client_of": staticmethod(client_of)})
    run_state_machine_as_test(machine, settings=effort(quick, thorough, steps=40))


@pytest.mark.timeout(1800)
def test_any_sequence_of_steps_equals_the_model_on_valkey(server: RedisServer) -> None:
    check(server.url, raw_client(server), quick=40, thorough=2000)


@pytest.mark.timeout(1800)
def test_any_sequence_of_steps_equals_the_model_on_redis(redis_server: RedisServer) -> None:
    check(redis_server.url, raw_client(redis_server), quick=20, thorough=1000)


@pytest.mark.timeout(1800)
def test_any_sequence_of_steps_equals_the_model_in_memory() -> None:
    check("memory://", lambda store: store.pool.client, quick=5, thorough=200)  # type: ignore[attr-defined]
