"""What becomes of a job after an attempt: the one place where an `Outcome` is turned into a transition.

`settle` decides for one job; a `Batch` gathers what was decided for many jobs of one queue and describes it
as few transitions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from ferryman import failures, results
from ferryman.execution import Attempt
from ferryman.outcome import AttemptRecord, Ended, Failed, Outcome, Released, Snoozed, Succeeded
from ferryman.results import ResultRecord
from ferryman.retry import Retry
from ferryman.store import transitions
from ferryman.store.keys import QueueKeys
from ferryman.store.transitions import BATCH, Burial, Deferral, Kept, Later, Transition

if TYPE_CHECKING:
    from ferryman.settings import Settings

ENDED_KEPT_MS = 24 * 3600 * 1000
"""How long it stays known that a job expired or was cancelled."""
_encode = msgspec.msgpack.Encoder().encode

Way = Literal["ack", "keep", "retry", "snooze", "defer", "bury", "release"]


@dataclass(slots=True)
class Settlement:
    """What becomes of one job."""

    way: Way
    item: Any = None
    """The `Kept`, `Later`, `Deferral` or `Burial` that goes with it."""
    history_ms: int = -1
    """How long records of failed attempts stay; -1: there are none."""
    counter: str = "ok"
    """What the attempt counts as in the statistics; '' nothing."""


DONE = Settlement("ack")
"""Success on the first attempt, and nothing to keep: nearly every job."""
RELEASED = Settlement("release", counter="")


def settle(attempt: Attempt, outcome: Outcome, now_ms: int) -> Settlement:
    """What becomes of the job. `now_ms` is the server's time."""
    if isinstance(outcome, Succeeded):
        return _succeeded(attempt, outcome.value, now_ms)
    if isinstance(outcome, Failed):
        return _failed(attempt, outcome, now_ms)
    if isinstance(outcome, Snoozed):
        later = Later(attempt.local.decode(), int(outcome.delay_s * 1000), 0)
        return Settlement("snooze", later, counter="")
    if isinstance(outcome, Ended):
        record = _record(attempt, outcome.state, now_ms)
        history_ms = ENDED_KEPT_MS if attempt.made else -1
        return _kept(attempt, record, ENDED_KEPT_MS, history_ms, outcome.state)
    assert isinstance(outcome, Released)  # noqa: S101 (the five kinds of outcome)
    return RELEASED


def keeps_result_ms(attempt: Attempt) -> int:
    """How long the job's result is kept; 0: it is not."""
    options = attempt.letter.options
    ttl_s = attempt.task.defaults.result_ttl_s
    if options is not None:
        ttl_s = options.get("result_ttl", ttl_s)
    return int(ttl_s * 1000)


def _succeeded(attempt: Attempt, value: Any, now_ms: int) -> Settlement:
    options = attempt.letter.options
    # Of a schedule's job it stays known for a while how it ended, also where its result is not kept.
    end_ms = int(options.get("end_ttl", 0) * 1000) if options else 0
    ttl_ms = keeps_result_ms(attempt)
    if end_ms and not ttl_ms:
        return _kept(
            attempt, _record(attempt, results.SUCCEEDED, now_ms), end_ms, end_ms if attempt.made else -1, "ok"
        )
    ttl_ms = max(ttl_ms, end_ms)
    history_ms = ttl_ms if attempt.made else -1
    if not ttl_ms:
        return Settlement("ack", history_ms=history_ms) if attempt.made else DONE
    try:
        data, marks = attempt.app.payloads.pack_result(attempt.task.codec, value)
    except Exception as error:  # noqa: BLE001 (a serializer of the user's may raise anything)
        # The task has done its work. Running it again would do the work again and fail in the same way.
        return _failed(attempt, Failed(error, "rejected"), now_ms)
    record = _record(attempt, results.SUCCEEDED, now_ms, data, marks)
    return _kept(attempt, record, ttl_ms, history_ms, "ok")


def _kept(attempt: Attempt, record: ResultRecord, ttl_ms: int, history_ms: int, counter: str) -> Settlement:
    kept = Kept(attempt.local.decode(), ttl_ms, results.encode(record))
    return Settlement("keep", kept, history_ms, counter)


def _record(
    attempt: Attempt, state: str, now_ms: int, value: bytes | None = None, marks: Any = None
) -> ResultRecord:
    options = attempt.letter.options
    shown: dict[str, object] = {
        name: options[name] for name in ("tags", "meta") if options and name in options
    }
    ran = state == results.SUCCEEDED
    return ResultRecord(
        state,
        attempt.task.name,
        value,
        attempt.made + ran,
        attempt.worker,
        now_ms - attempt.took_ns // 1_000_000 if ran or attempt.started_ns else 0,
        now_ms,
        attempt.letter.enqueued_ms,
        marks,
        shown or None,
    )


def _failed(attempt: Attempt, failed: Failed, now_ms: int) -> Settlement:
    local, made = attempt.local.decode(), attempt.made + 1
    report = failures.describe(failed.error, attempt.task.name, failed.kind)
    duration_ms = attempt.took_ns // 1_000_000
    record = _encode(
        AttemptRecord(
            made, failed.kind, attempt.worker, now_ms - duration_ms, duration_ms,
            report.error, report.traceback, report.fingerprint,
        )
    )  # fmt: skip
    delay_s = _next_delay_s(attempt, failed, made)
    if delay_s is None:
        burial = Burial(local, made, record, report.fingerprint, attempt.task.name)
        return Settlement("bury", burial, counter="failed")
    later = Later(local, int(delay_s * 1000), made, record)
    return Settlement("retry", later, counter="retry" if failed.kind == "retry" else "failed")


def _next_delay_s(attempt: Attempt, failed: Failed, made: int) -> float | None:
    """Seconds until the next attempt, or None if there is none."""
    if failed.kind == "rejected":
        return None
    policy = attempt.task.defaults.retry
    options = attempt.letter.options
    if options is not None and "retry" in options:
        with contextlib.suppress(Exception):  # damaged: then the task's own policy holds
            policy = Retry.from_wire(options["retry"])
    if made > policy.limit:
        return None
    if isinstance(failed.error, Retry):
        asked = failed.error
        return (asked if asked.delays is not None else policy).wait_s(made)
    return policy.wait_s(made) if policy.covers(failed.error) else None


class Dispatch(NamedTuple):
    """A transition that settles jobs, and which."""

    transition: Transition[Any]
    ids: Sequence[bytes]


class Batch:
    """Settlements of one queue that travel together."""

    __slots__ = (
        "acks", "buried", "counters", "deferred", "histories", "kept", "released", "retried", "snoozed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.acks: list[bytes] = []
        self.kept: list[Kept] = []
        self.histories: dict[str, int] = {}
        self.retried: list[Later] = []
        self.snoozed: list[Later] = []
        self.deferred: list[Deferral] = []
        self.buried: list[Burial] = []
        self.released: list[bytes] = []
        self.counters: dict[str, int] = {}

    @property
    def waiting(self) -> bool:
        """Whether there is anything to tell."""
        return bool(
            self.acks
            or self.kept
            or self.retried
            or self.snoozed
            or self.deferred
            or self.buried
            or self.released
            or self.counters
        )

    def add(self, attempt: Attempt, settled: Settlement) -> None:
        """One more job. (A worker's hot path does the same by hand for `DONE`.)"""
        way = settled.way
        if way == "ack":
            self.acks.append(attempt.local)
        elif way == "release":
            self.released.append(attempt.local)
        else:
            by_way: dict[str, list[Any]] = {
                "keep": self.kept, "retry": self.retried, "snooze": self.snoozed, "defer": self.deferred,
                "bury": self.buried,
            }  # fmt: skip
            by_way[way].append(settled.item)
        if settled.history_ms >= 0:
            self.histories[attempt.local.decode()] = settled.history_ms
        if settled.counter:
            self.count(f"{settled.counter}:{attempt.task.name}")
            if settled.counter == "ok":
                self.count(f"ms:{attempt.task.name}", attempt.took_ns // 1_000_000)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of the minute's statistics."""
        self.counters[name] = self.counters.get(name, 0) + by

    def dispatches(
        self, keys: QueueKeys, holder: str, settings: Settings, now_ms: int, *, lifo: bool = False
    ) -> Iterator[Dispatch]:
        """The transitions, in slices that do not keep Redis for long."""
        minute = now_ms // 60_000
        yield from self._acks(keys, holder, minute)
        for describe, jobs in ((transitions.retry, self.retried), (transitions.snooze, self.snoozed)):
            for part in transitions.batches(jobs):
                yield Dispatch(describe(keys, holder, part), [job.local.encode() for job in part])
        for deferrals in transitions.batches(self.deferred):
            step = transitions.defer(keys, holder, deferrals)
            yield Dispatch(step, [job.local.encode() for job in deferrals])
        for burials in transitions.batches(self.buried):
            step = transitions.bury(
                keys, holder, burials, minute=minute, most=settings.dead_limit,
                oldest_ms=int(settings.dead_ttl_s * 1000),
            )  # fmt: skip
            yield Dispatch(step, [job.local.encode() for job in burials])
        for ids in transitions.batches(self.released):
            yield Dispatch(transitions.release(keys, holder, ids, lifo=lifo), ids)

    def _acks(self, keys: QueueKeys, holder: str, minute: int) -> Iterator[Dispatch]:
        counters = list(self.counters.items())
        for ids in transitions.batches(self.acks):
            step = transitions.ack(
                keys, holder, ids, histories=self._histories(ids), minute=minute, counters=counters
            )
            yield Dispatch(step, ids)
            counters = []
        for kept in transitions.batches(self.kept, 200):
            ids = [job.local.encode() for job in kept]
            step = transitions.ack(
                keys, holder, [], kept=kept, histories=self._histories(ids), minute=minute, counters=counters
            )
            yield Dispatch(step, ids)
            counters = []
        if counters:
            yield Dispatch(transitions.ack(keys, holder, [], minute=minute, counters=counters), [])

    def _histories(self, ids: Sequence[bytes]) -> list[tuple[str, int]]:
        if not self.histories:
            return []
        return [(local, self.histories[local]) for local in map(bytes.decode, ids) if local in self.histories]


__all__ = ["BATCH", "DONE", "RELEASED", "Batch", "Dispatch", "Settlement", "settle"]
