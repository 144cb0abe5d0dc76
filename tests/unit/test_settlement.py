"""What becomes of a job after an attempt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ferryman import Ferryman, Reject, Retry, envelope, failures, results
from ferryman.execution import Attempt
from ferryman.interrupts import TimeLimit
from ferryman.outcome import AttemptRecord, Ended, Failed, Released, Snoozed, Succeeded
from ferryman.settlement import DONE, RELEASED, Batch, Settlement, settle
from ferryman.store.keys import QueueKeys

NOW = 1_700_000_000_000


def attempt(made: int = 0, wire: dict[str, Any] | None = None, **options: Any) -> Attempt:
    app = Ferryman("memory://")
    task = app.task(name="it", **options)(lambda: None)
    letter = envelope.Envelope(1, "it", msgspec.Raw(b"\x90"), envelope.NO_KWARGS, NOW - 5000, wire)
    found = Attempt(app, task, letter, b"id", "default", made, "w-1")
    found.took_ns = 2_000_000_000
    return found


def record_of(settled: Settlement) -> AttemptRecord:
    return msgspec.msgpack.decode(settled.item.record, type=AttemptRecord)


def test_success_that_keeps_nothing_is_done() -> None:
    assert settle(attempt(), Succeeded(None), NOW) is DONE
    assert settle(attempt(), Succeeded(5), NOW) is DONE


def test_success_after_failures_takes_the_history_along() -> None:
    assert settle(attempt(made=1), Succeeded(None), NOW).history_ms == 0
    assert settle(attempt(made=1, result_ttl=60), Succeeded(None), NOW).history_ms == 60_000


def test_a_result_is_kept_as_long_as_the_call_or_the_task_says() -> None:
    settled = settle(attempt(result_ttl=60, wire={"tags": ["a"]}), Succeeded([1]), NOW)
    record = results.decode(settled.item.record)
    assert (settled.way, settled.item.ttl_ms) == ("keep", 60_000)
    assert (record.state, record.attempts, record.worker) == ("succeeded", 1, "w-1")
    assert (record.started_ms, record.finished_ms, record.options) == (NOW - 2000, NOW, {"tags": ["a"]})
    assert settle(attempt(result_ttl=60, wire={"result_ttl": 0}), Succeeded(1), NOW).way == "ack"
    assert settle(attempt(wire={"result_ttl": 5}), Succeeded(1), NOW).item.ttl_ms == 5000


def test_a_failure_is_retried_within_the_limit_and_then_dead() -> None:
    error = ValueError("no")
    settled = settle(attempt(retry=Retry(2, delay=[1, 60])), Failed(error), NOW)
    assert (settled.way, settled.item.delay_ms, settled.item.attempts_made) == ("retry", 1000, 1)
    settled = settle(attempt(made=1, retry=Retry(2, delay=[1, 60])), Failed(error), NOW)
    assert (settled.way, settled.item.delay_ms, settled.item.attempts_made) == ("retry", 60_000, 2)
    settled = settle(attempt(made=2, retry=Retry(2, delay=[1, 60])), Failed(error), NOW)
    assert (settled.way, settled.item.attempts_made, settled.item.task) == ("bury", 3, "it")
    record = record_of(settled)
    assert (record.number, record.outcome, record.worker) == (3, "failed", "w-1")
    assert (record.started_ms, record.duration_ms, record.error) == (NOW - 2000, 2000, "ValueError: no")


@pytest.mark.parametrize("made, way", [(0, "retry"), (1, "bury")])
def test_a_calls_own_retry_goes_before_the_tasks(made: int, way: str) -> None:
    wire = {"retry": Retry(1, delay=2).to_wire()}
    assert settle(attempt(made, wire, retry=Retry(9)), Failed(ValueError()), NOW).way == way


def test_a_damaged_retry_rule_falls_back_to_the_tasks() -> None:
    assert settle(attempt(0, {"retry": 7}, retry=Retry(1)), Failed(ValueError()), NOW).way == "retry"


def test_exceptions_that_the_rule_excludes_are_not_retried() -> None:
    policy = Retry(5, on=OSError, not_on=FileNotFoundError)
    assert settle(attempt(retry=policy), Failed(ConnectionError()), NOW).way == "retry"
    assert settle(attempt(retry=policy), Failed(FileNotFoundError()), NOW).way == "bury"
    assert settle(attempt(retry=policy), Failed(ValueError()), NOW).way == "bury"


def test_a_wish_for_a_retry_has_its_own_delay_and_the_tasks_limit() -> None:
    settled = settle(attempt(retry=Retry(1, delay=99)), Failed(Retry(delay=3), "retry"), NOW)
    assert (settled.way, settled.item.delay_ms) == ("retry", 3000)
    settled = settle(attempt(retry=Retry(1, delay=99)), Failed(Retry(), "retry"), NOW)
    assert settled.item.delay_ms == 99_000
    assert settle(attempt(1, retry=Retry(1)), Failed(Retry(delay=3), "retry"), NOW).way == "bury"


def test_a_rejected_job_is_dead_whatever_is_left() -> None:
    assert settle(attempt(retry=Retry(9)), Failed(Reject("never"), "rejected"), NOW).way == "bury"


def test_a_result_that_cannot_travel_is_not_tried_again() -> None:
    settled = settle(attempt(result_ttl=60, retry=Retry(9)), Succeeded(object()), NOW)
    assert settled.way == "bury"


def test_the_other_ends() -> None:
    snoozed = settle(attempt(made=3), Snoozed(2.5), NOW)
    assert (snoozed.way, snoozed.item.delay_ms, snoozed.item.attempts_made) == ("snooze", 2500, 0)
    assert settle(attempt(), Released(), NOW) is RELEASED
    expired = settle(attempt(), Ended("expired"), NOW)
    assert results.decode(expired.item.record).state == "expired"
    assert expired.counter == "expired"


def test_a_batch_says_the_same_in_few_transitions_and_counts_once() -> None:
    batch = Batch()
    for number in range(1200):
        one = attempt(retry=Retry(5))
        one.local = str(number).encode()
        outcome = Failed(ValueError()) if number >= 1100 else Succeeded(None)
        batch.add(one, settle(one, outcome, NOW))
    app = Ferryman("memory://")
    dispatches = list(batch.dispatches(QueueKeys("t", "q"), "w", app.settings, NOW))
    assert [dispatch.transition.script.name for dispatch in dispatches] == ["ack", "ack", "ack", "retry"]
    assert sum(len(dispatch.ids) for dispatch in dispatches) == 1200
    assert batch.counters == {"ok:it": 1100, "ms:it": 2_200_000, "failed:it": 100}
    fields = [dispatch.transition.args[3] for dispatch in dispatches[:3]]
    assert fields == [3, 0, 0]


# -- what a failure leaves for people ------------------------------------------------------------------------


def raised(fn: Any) -> BaseException:
    try:
        fn()
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("it did not raise")


def test_failures_with_one_cause_have_one_fingerprint() -> None:
    def here(text: str) -> None:
        raise ValueError(text)

    def there() -> None:
        raise ValueError("x")

    first, second = raised(lambda: here("a")), raised(lambda: here("b"))
    assert failures.describe(first, "t").fingerprint == failures.describe(second, "t").fingerprint
    assert failures.describe(first, "t").fingerprint != failures.describe(first, "other").fingerprint
    assert failures.describe(first, "t").fingerprint != failures.describe(raised(there), "t").fingerprint


def test_the_users_innermost_frame_counts_and_not_the_librarys() -> None:
    def loads() -> None:
        import json

        json.loads("{")

    def loads_differently() -> None:
        import json

        json.loads("[[[")

    first, second = (failures.describe(raised(fn), "t") for fn in (loads, loads_differently))
    assert first.fingerprint != second.fingerprint
    assert first.error.startswith("json.decoder.JSONDecodeError: ")


def test_timeouts_of_a_task_are_one_kind_wherever_they_hit() -> None:
    one, two = TimeLimit("a"), raised(lambda: (_ for _ in ()).throw(TimeLimit("b")))
    assert (
        failures.describe(one, "t", "timeout").fingerprint
        == failures.describe(two, "t", "timeout").fingerprint
    )


def test_an_error_that_cannot_be_printed_is_described_all_the_same() -> None:
    class Awful(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    report = failures.describe(raised(lambda: (_ for _ in ()).throw(Awful())), "t")
    assert "Awful" in report.error


def test_long_errors_and_tracebacks_are_cut() -> None:
    report = failures.describe(ValueError("x" * 100_000), "t")
    assert len(report.error) <= failures.MOST_ERROR
    assert len(report.traceback) <= failures.MOST_TRACEBACK
    assert "characters left out" in report.traceback
