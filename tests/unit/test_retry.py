"""When a failed job runs again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.errors import InvalidOption
from ferryman.retry import Reject, Retry, Snooze, as_seconds

durations = st.floats(0, 1e6)


anything_retry: Any = Retry
anything_snooze: Any = Snooze


class Trouble(Exception):
    pass


class SmallTrouble(Trouble):
    pass


@given(st.integers(1, 10_000), durations, durations)
def test_a_wait_lies_between_half_and_the_whole_of_its_ceiling(made: int, base: float, most: float) -> None:
    ceiling = min(base * 2.0 ** min(made - 1, 60), most)
    assert ceiling / 2 <= Retry(base=base, max_delay=most).wait_s(made) <= ceiling
    assert Retry(base=base, max_delay=most, jitter=False).wait_s(made) == ceiling


def test_without_jitter_the_wait_doubles_up_to_its_limit() -> None:
    rule = Retry(base=2, max_delay=20, jitter=False)
    assert [rule.wait_s(made) for made in range(1, 6)] == [2, 4, 8, 16, 20]


def test_a_list_of_delays_is_walked_and_its_last_one_repeated() -> None:
    rule = Retry(5, delay=[1, timedelta(minutes=1)])
    assert (rule.limit, [rule.wait_s(made) for made in (1, 2, 3)]) == (5, [1, 60, 60])
    assert Retry(delay=[1, 2]).limit == 2
    assert Retry(delay=30).limit == 3
    assert Retry(4, delay=30).wait_s(3) == 30


def test_exceptions_are_chosen_with_their_subclasses() -> None:
    rule = Retry(on=(Trouble, OSError), not_on=SmallTrouble)
    assert rule.covers(Trouble())
    assert rule.covers(FileNotFoundError())
    assert not rule.covers(SmallTrouble())
    assert not rule.covers(ValueError())
    assert Retry().covers(ValueError())
    assert not Retry(not_on=(Exception,)).covers(ValueError())


rules = st.builds(
    Retry,
    st.integers(0, 10_000),
    delay=st.one_of(st.none(), durations, st.lists(durations, min_size=1, max_size=4)),
    base=durations,
    max_delay=durations,
    jitter=st.booleans(),
    on=st.sampled_from([(), Trouble, (Trouble, OSError)]),
    not_on=st.sampled_from([(), SmallTrouble]),
    reason=st.sampled_from(["", "later"]),
)


@given(rules)
def test_a_rule_that_travelled_is_the_same_rule(rule: Retry) -> None:
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(rule.to_wire()))
    back = Retry.from_wire(wire)
    assert back == rule
    assert hash(back) == hash(rule)
    assert (back.limit, back.delays, back.on, back.not_on) == (rule.limit, rule.delays, rule.on, rule.not_on)


@pytest.mark.parametrize("value,limit", [(None, 0), (False, 0), (0, 0), (7, 7), (True, 3), (Retry(2), 2)])
def test_what_retry_accepts(value: Any, limit: int) -> None:
    assert Retry.of(value).limit == limit


@pytest.mark.parametrize(
    "make",
    [
        lambda: anything_retry(-1),
        lambda: anything_retry(10_001),
        lambda: anything_retry(1.5),
        lambda: anything_retry(True),
        lambda: anything_retry("3"),
        lambda: anything_retry(delay=[]),
        lambda: anything_retry(delay=-1),
        lambda: anything_retry(delay="5"),
        lambda: anything_retry(base=float("inf")),
        lambda: anything_retry(max_delay=float("nan")),
        lambda: anything_retry(on="ValueError"),
        lambda: anything_retry(on=ValueError()),
        lambda: anything_retry(not_on=(int,)),
        lambda: anything_snooze(-1),
        lambda: anything_snooze("soon"),
        lambda: anything_retry.of("3"),
    ],
)
def test_what_makes_no_rule_is_refused(make: Any) -> None:
    with pytest.raises(InvalidOption):
        make()


def test_signals_say_why() -> None:
    assert str(Retry(reason="busy")) == "busy"
    assert "retry" in str(Retry())
    assert (str(Snooze(5)), Snooze(timedelta(minutes=1)).delay_s) == ("the task snoozed", 60)
    assert (str(Reject("bad address")), Reject().reason) == ("bad address", "rejected")
    assert "limit=3" in repr(Retry())


@pytest.mark.parametrize(
    "bad", [-1, -0.001, True, None, "1", float("inf"), float("nan"), timedelta(-1), 10**10]
)
def test_what_is_no_number_of_seconds_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidOption, match="number of seconds"):
        as_seconds(bad, "delay")


def test_rules_differ_from_other_things() -> None:
    assert Retry(1) != Retry(2)
    assert Retry(1) != 1
