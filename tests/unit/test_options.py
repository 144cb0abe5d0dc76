"""Options of tasks and calls, checked and in one form. What is refused stands in test_bad_input."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ferryman.errors import InvalidOption
from ferryman.options import CALL_ONLY, CallOptions, Options, TaskOptions
from ferryman.retry import Retry

NOW = 1_780_000_000_000
PLAIN = Options(queue="q", retry=Retry())


def test_nothing_travels_when_nothing_was_said() -> None:
    assert PLAIN.to_wire(NOW) is None
    assert PLAIN.due() == ""


def test_only_what_a_call_overrides_travels() -> None:
    defaults = Options(queue="q", retry=Retry(5), timeout_s=30, result_ttl_s=600)
    assert defaults.to_wire(NOW) is None
    assert defaults.override(timeout=timedelta(minutes=1)).to_wire(NOW) == {"timeout": 60.0}
    assert defaults.override(timeout=None, result_ttl=0).to_wire(NOW) == {"timeout": None, "result_ttl": 0.0}


def test_every_option_has_its_form_on_the_wire() -> None:
    found = PLAIN.override(
        retry=2, meta={"a": [1]}, tags=["x", "y"], priority=-3, expires=60, delay=10
    ).to_wire(NOW)
    assert found is not None
    assert found.pop("retry") == Retry(2).to_wire()
    assert found == {
        "meta": {"a": [1]}, "tags": ["x", "y"], "priority": -3, "expires": NOW + 70_000,
    }  # fmt: skip


def test_empty_meta_and_tags_do_not_travel() -> None:
    assert PLAIN.override(meta={}, tags=[]).to_wire(NOW) is None


@pytest.mark.parametrize(
    "at,expires_ms",
    [
        (datetime.fromtimestamp(NOW / 1000 + 100, UTC), NOW + 105_000),
        (datetime(1970, 1, 1, tzinfo=UTC), NOW + 5000),
    ],
)
def test_an_expiry_counts_from_when_the_job_may_run(at: datetime, expires_ms: int) -> None:
    assert PLAIN.override(at=at, expires=5).to_wire(NOW) == {"expires": expires_ms}


def test_the_expiry_of_a_task_travels_with_each_of_its_jobs() -> None:
    assert Options(queue="q", retry=Retry(), expires_s=5).to_wire(NOW) == {"expires": NOW + 5000}


@pytest.mark.parametrize(
    "call,due",
    [
        ({"delay": 0}, ""),  # no detour through `delayed`
        ({"delay": 1.5}, "+1500"),
        ({"delay": timedelta(days=1)}, "+86400000"),
        ({"at": datetime(2030, 1, 1, tzinfo=UTC)}, "1893456000000"),
        ({"at": datetime(2030, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "1893456000000"),
        ({"at": datetime(2029, 12, 31, 19, tzinfo=ZoneInfo("America/New_York"))}, "1893456000000"),
        ({"at": datetime(1960, 1, 1, tzinfo=UTC)}, "0"),
        ({"at": datetime(9999, 12, 31, tzinfo=UTC)}, "253402214400000"),
    ],
)
def test_when_a_job_may_run(call: dict[str, Any], due: str) -> None:
    assert PLAIN.override(**call).due() == due


def test_options_pile_up_and_the_last_word_holds() -> None:
    found = PLAIN.override(priority=1, tags=["a"]).override(priority=2)
    assert (found.priority, found.tags) == (2, ("a",))
    with pytest.raises(InvalidOption, match="not both"):
        PLAIN.override(delay=1).override(at=datetime(2030, 1, 1, tzinfo=UTC))


def test_what_was_given_is_a_copy() -> None:
    meta = {"a": 1}
    found = PLAIN.override(meta=meta)
    meta["a"] = 2
    assert found.meta == {"a": 1}


def test_every_documented_option_is_understood() -> None:
    examples: dict[str, Any] = {
        "queue": "other", "retry": 1, "timeout": 1, "result_ttl": 1, "expires": 1, "priority": 1, "meta": {},
        "tags": [], "duration": 1, "delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC), "id": "x",
        "durability": "fsync",
    }  # fmt: skip
    assert examples.keys() == CallOptions.__annotations__.keys()
    assert examples.keys() - TaskOptions.__annotations__.keys() == CALL_ONLY == {"delay", "at", "id"}
    for name, value in examples.items():
        assert PLAIN.override(**{name: value}).given
    with pytest.raises(InvalidOption, match="there are at, delay, durability"):
        PLAIN.override(colour="red")
