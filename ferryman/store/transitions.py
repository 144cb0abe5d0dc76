"""The life of a job as transitions: each described once, as script, keys, arguments and how to read the
reply. No I/O happens here.

`ferryman.store.sync` and `ferryman.store.aio` carry a `Transition` out; the worker pipelines them over its
own connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ferryman.store import scripts
from ferryman.store.keys import QueueKeys
from ferryman.store.scripts import Script

R = TypeVar("R")
T = TypeVar("T")

BATCH = 500
"""Jobs in one script call: past that, a call would keep Redis from its other clients for more than some 2 ms.
"""
KEEP_ATTEMPTS = 50
"""Records of failed attempts kept for one job, the newest."""


@dataclass(slots=True)
class Transition(Generic[R]):
    """One atomic step: ``EVALSHA script keys args``, and how to read what comes back."""

    script: Script
    keys: list[str]
    args: list[Any]
    read: Callable[[Any], R]
    repeatable: bool = True
    """Whether sending it again after a lost reply does no harm."""
    numbered: bool = False
    """Whether the lane that carries it out has yet to put its name and its next number in: see `Lane.number`.
    """


def batches(items: Sequence[T], size: int = BATCH) -> Iterable[Sequence[T]]:
    """`items` in slices of at most `size`."""
    return (items[first : first + size] for first in range(0, len(items), size))


def _same(reply: Any) -> Any:
    return reply


def _text(value: bytes) -> str:
    return value.decode()


def _texts(reply: list[bytes]) -> list[str]:
    return [item.decode() for item in reply]


# -- enqueue -------------------------------------------------------------------------------------------------


class Enqueued(NamedTuple):
    """What became of an enqueue."""

    created: int
    """How many jobs are new; -1: the call is a repetition of one that was carried out before."""
    existing: list[str]
    """Ids that were there already and were left alone."""


def _enqueued(reply: list[Any]) -> Enqueued:
    return Enqueued(reply[0], _texts(reply[1:]) if len(reply) > 1 else [])


PRODUCER, LANE_SEQ = 8, 0
"""Where in an enqueue's keys and arguments the lane stands that carries it out."""


def enqueue(
    keys: QueueKeys,
    lane: str,
    lane_seq: int,
    jobs: Sequence[str | bytes],
    *,
    chosen: bool = False,
    due: str = "",
    priority: int | None = None,
    cost_ms: float | None = None,
) -> Transition[Enqueued]:
    """Hand over jobs, given flat as id, envelope, id, envelope, ...

    `lane`, `lane_seq`: who sends it, as which of its calls; '' leaves that to the lane that carries it out.
    `chosen`: the ids are the user's own, so they may exist. `due`: ``+<ms>`` from now or ``<ms>`` since the
    epoch. `cost_ms`: expected run time, for a queue in order ``shortest``.
    """
    names = [
        keys.jobs, keys.ready, keys.ranked, keys.rank, keys.delayed, keys.bell, keys.ghosts, keys.seq,
        keys.producers + lane,
    ]  # fmt: skip
    if chosen:
        names += [keys.result(str(local)) for local in jobs[::2]]
    ranked = "" if priority is None else str(priority)
    cost = "" if cost_ms is None else str(cost_ms)
    args = [lane_seq, "ids" if chosen else "new", due, ranked, cost, *jobs]
    return Transition(scripts.load("enqueue"), names, args, _enqueued, numbered=not lane)


# -- fetch, ack, and the other ends of an attempt ------------------------------------------------------------


class Fetched(NamedTuple):
    now_ms: int
    due_in_ms: int
    """This holder keeps the timer: fetch again in so many ms. -1: it does not."""
    more: int
    """1 if jobs were left in the queue."""
    held: int
    """How many jobs this holder holds in this queue now."""
    state: bytes
    """``ok``, ``paused``, or ``lost``: the holder has no lease."""
    ids: list[bytes]
    envelopes: list[bytes]
    tries: list[bytes | None]
    """Attempts made, one for each id; empty when nobody has failed."""
    crashes: list[bytes | None]
    """``<times>:<since ms>``, one for each id; empty when no worker was lost."""
    missing: list[bytes]
    """Ids whose envelopes had been deleted from outside."""


def _fetched(reply: list[Any]) -> Fetched:
    return Fetched(*reply)


def fetch(
    keys: QueueKeys, holder: str, limit: int, *, lifo: bool = False, budget: int = BATCH
) -> Transition[Fetched]:
    """Take up to `limit` jobs under the holder's lease, after promoting what has come due.

    Not repeatable: if the reply is lost, the jobs are held; `reconcile` finds them.
    """
    names = [
        keys.jobs, keys.ready, keys.ranked, keys.rank, keys.delayed, keys.retries, keys.held(holder),
        keys.workers, keys.bell, keys.timer, keys.paused, keys.tries, keys.crashes, keys.ghosts,
    ]  # fmt: skip
    args = [holder, limit, "lifo" if lifo else "fifo", budget]
    return Transition(scripts.load("fetch"), names, args, _fetched, repeatable=False)


NOT_NUMBERED = ("", 0)
"""What the arguments of a settlement (`ack`, `retry`, `snooze`, `defer`, `bury`, `release`) begin with: its
lane and number.
"""


def number(settlement: Transition[Any], lane: str, number: int) -> None:
    """Make it a certain call of its holder's.

    A call that is not above the last one that was carried out in its lane does nothing, and replies as one
    that was carried out. So a lane's calls go one after another: the next only when the reply to the last has
    come, with a higher number. Repeated, a call keeps its number.
    """
    settlement.args[:2] = (lane, number)


def lane_of(settlement: Transition[Any]) -> str:
    """The lane that it was given; '' if it is not numbered."""
    return str(settlement.args[0])


class Acked(NamedTuple):
    held: int
    refused: list[bytes]
    """Ids that this holder did not hold any more: nothing of theirs was changed."""


def _acked(reply: list[Any]) -> Acked:
    return Acked(reply[0], reply[1:])


class Kept(NamedTuple):
    """A result to keep."""

    local: str
    ttl_ms: int
    record: bytes


def ack(
    keys: QueueKeys,
    holder: str,
    ids: Sequence[bytes | str],
    *,
    kept: Sequence[Kept] = (),
    histories: Sequence[tuple[str, int]] = (),
    minute: int = 0,
    counters: Sequence[tuple[str, int]] = (),
) -> Transition[Acked]:
    """Finish jobs. `ids` are those that keep nothing; jobs in `kept` are finished too.

    `histories`: (id, ttl_ms) of jobs with records of failed attempts. `counters`: what to add to the stats of
    `minute`.
    """
    names = [
        keys.jobs, keys.held(holder), keys.rank, keys.tries, keys.crashes, keys.stats(minute), keys.done,
        keys.started(holder), keys.cancels, keys.settled(holder),
    ]  # fmt: skip
    args: list[Any] = [*NOT_NUMBERED, len(ids) + len(kept), len(counters), len(kept), len(histories)]
    for result in kept:
        names.append(keys.result(result.local))
        args.append(result.local)
    args.extend(ids)
    for counter in counters:
        args.extend(counter)
    for result in kept:
        args.extend((result.ttl_ms, result.record))
    for local, ttl_ms in histories:
        names.append(keys.attempts(local))
        args.extend((local, ttl_ms))
    return Transition(scripts.load("ack"), names, args, _acked)


class Later(NamedTuple):
    """A held job that runs again at a later time."""

    local: str
    delay_ms: int
    attempts_made: int
    """0 leaves the count alone (a snooze)."""
    record: bytes = b""
    """The attempt's record, if one is to be kept."""


def _later(script_keys: str, keys: QueueKeys, holder: str, jobs: Sequence[Later]) -> Transition[list[bytes]]:
    names = [
        keys.held(holder), script_keys, keys.tries, keys.bell, keys.cancels, keys.jobs, keys.rank,
        keys.crashes, keys.done, keys.settled(holder),
    ]  # fmt: skip
    args: list[Any] = [*NOT_NUMBERED, KEEP_ATTEMPTS, keys.stem]
    for job in jobs:
        names.append(keys.attempts(job.local))
        args.extend(job)
    return Transition(scripts.load("retry"), names, args, _same)


def retry(keys: QueueKeys, holder: str, jobs: Sequence[Later]) -> Transition[list[bytes]]:
    """Failed attempts that are followed by another. Reads as the ids that were refused."""
    return _later(keys.retries, keys, holder, jobs)


def snooze(keys: QueueKeys, holder: str, jobs: Sequence[Later]) -> Transition[list[bytes]]:
    """Jobs put off by their task, uncharged. Reads as the ids that were refused."""
    return _later(keys.delayed, keys, holder, jobs)


class Deferral(NamedTuple):
    """A held job whose envelope is not read here."""

    local: str
    version: int
    """Of its envelope."""
    delay_ms: int
    """When it is anybody's again, should no newer worker summon it."""


def defer(keys: QueueKeys, holder: str, jobs: Sequence[Deferral]) -> Transition[list[bytes]]:
    """Leave jobs to a newer worker, uncharged. Reads as the ids that were refused."""
    names = [keys.held(holder), keys.delayed, keys.newer, keys.bell, keys.settled(holder)]
    args = [*NOT_NUMBERED, *(word for job in jobs for word in job)]
    return Transition(scripts.load("defer"), names, args, _same)


class Summoned(NamedTuple):
    held: int
    """How many jobs this holder holds in this queue now."""
    more: int
    """1 if the look ended at its limit, so that there may be others."""
    ids: list[bytes]
    envelopes: list[bytes | None]
    tries: list[bytes | None]
    crashes: list[bytes | None]


def summon(keys: QueueKeys, holder: str, version: int, limit: int) -> Transition[Summoned]:
    """Take up to `limit` jobs that older workers left to one who reads `version`, before they are due.

    Not repeatable, as `fetch`.
    """
    names = [
        keys.newer, keys.delayed, keys.held(holder), keys.workers, keys.jobs, keys.tries, keys.crashes,
        keys.paused,
    ]  # fmt: skip
    args = [holder, version, limit]
    return Transition(scripts.load("summon"), names, args, lambda reply: Summoned(*reply), repeatable=False)


class Burial(NamedTuple):
    local: str
    attempts_made: int
    record: bytes
    fingerprint: str
    task: str


def bury(
    keys: QueueKeys, holder: str, jobs: Sequence[Burial], *, minute: int, most: int, oldest_ms: int
) -> Transition[list[bytes]]:
    """Held jobs that are out of attempts become dead letters, of which `most` are kept for `oldest_ms`. Reads
    as refused ids.
    """
    names = [
        keys.held(holder), keys.jobs, keys.dead, keys.rank, keys.tries, keys.crashes, keys.failures,
        keys.stats(minute), keys.done, keys.cancels, keys.settled(holder),
    ]  # fmt: skip
    args: list[Any] = [*NOT_NUMBERED, KEEP_ATTEMPTS, most, oldest_ms, keys.stem]
    for job in jobs:
        names.append(keys.attempts(job.local))
        args.extend(job)
    return Transition(scripts.load("bury"), names, args, _same)


def release(
    keys: QueueKeys, holder: str, ids: Sequence[bytes | str], *, lifo: bool = False
) -> Transition[Acked]:
    """Give held jobs back to the head of their line, uncharged: the first of `ids` is fetched next."""
    names = [
        keys.held(holder), keys.ready, keys.ranked, keys.rank, keys.bell, keys.cancels, keys.jobs, keys.tries,
        keys.crashes, keys.done, keys.settled(holder),
    ]  # fmt: skip
    args = [*NOT_NUMBERED, "lifo" if lifo else "fifo", keys.stem, *ids]
    return Transition(scripts.load("release"), names, args, _acked)


def announce(keys: QueueKeys, holder: str, ids: Sequence[bytes | str]) -> Transition[list[bytes]]:
    """Suspects are about to run. Reads as the ids that this holder does not hold."""
    return Transition(scripts.load("announce"), [keys.held(holder), keys.started(holder)], list(ids), _same)


def drop(keys: QueueKeys, holder: str, ids: Sequence[bytes | str]) -> Transition[int]:
    """Forget held ids whose envelopes were deleted from outside. Reads as their number."""
    names = [keys.held(holder), keys.jobs, keys.rank, keys.tries, keys.crashes, keys.cancels]
    names += [keys.attempts(local if isinstance(local, str) else local.decode()) for local in ids]
    return Transition(scripts.load("drop"), names, list(ids), _same)


# -- leases --------------------------------------------------------------------------------------------------


def register(keys: QueueKeys, holder: str, lease_ms: int) -> Transition[int]:
    """Begin a lease under a name that was never used before. Reads as the server's time in ms."""
    return Transition(scripts.load("register"), [keys.workers, keys.holders], [holder, lease_ms], _same)


def insist(key: str, command: str, *words: Any) -> Transition[Any]:
    """One command on one key that a full Redis must not refuse: what workers write about themselves. It must
    be harmless to repeat. Reads as its reply.
    """
    return Transition(scripts.load("insist"), [key], [command, *words], _same)


class Beat(NamedTuple):
    lost: list[str]
    """Holders that have lost their lease for good."""
    asked: list[tuple[str, str]]
    """(holder, id) of each held job that somebody asked to cancel."""


def _beat(reply: list[Any]) -> Beat:
    asked = _texts(reply[1])
    return Beat(_texts(reply[0]), list(zip(asked[::2], asked[1::2], strict=True)))


def heartbeat(keys: QueueKeys, holders: Sequence[str], lease_ms: int) -> Transition[Beat]:
    """Keep leases alive, and hear which of the holders' jobs are to be cancelled."""
    names = [keys.workers, keys.cancels]
    return Transition(scripts.load("heartbeat"), names, [lease_ms, keys.stem, *holders], _beat)


def retire(keys: QueueKeys, holder: str) -> Transition[int]:
    """End a lease in good order. Reads as the number of jobs still held; unless it is 0, nothing was done."""
    names = [
        keys.workers, keys.holders, keys.held(holder), keys.started(holder), keys.timer, keys.bell,
        keys.settled(holder),
    ]  # fmt: skip
    return Transition(scripts.load("retire"), names, [holder], _same)


def sweep(keys: QueueKeys, pause_ms: int) -> Transition[list[str]]:
    """Find holders to recover, unless somebody looked within `pause_ms`."""
    return Transition(scripts.load("sweep"), [keys.workers, keys.holders, keys.swept], [pause_ms], _texts)


class Recovered(NamedTuple):
    left: int
    """Jobs that the lost holder still holds; -1: its lease is alive and nothing was done."""
    moved: list[str]
    condemned: list[str]
    """Too many workers were lost under these. They are still held: bury them."""
    envelopes: list[bytes | None]
    tries: list[int]
    cancelled: list[str]
    """Somebody had asked for that, so they ended here instead of running again."""


def _recovered(reply: list[Any]) -> Recovered:
    if reply[0] == -1:
        return Recovered(-1, [], [], [], [], [])
    left, moved, condemned, envelopes, tries, cancelled = reply
    made = [int(times or 0) for times in tries]
    return Recovered(left, _texts(moved), _texts(condemned), envelopes, made, _texts(cancelled))


def recover(
    keys: QueueKeys,
    holder: str,
    *,
    forced: bool,
    limit: int,
    window_ms: int,
    running: Sequence[str] | None,
    lifo: bool = False,
) -> Transition[Recovered]:
    """Take a batch of jobs back from a holder that is gone.

    `forced`: its supervisor saw it die; otherwise only a lapsed lease is recovered. `running`: the ids that
    it was running, which are charged with a crash; None when nobody knows. A job charged `limit` times within
    `window_ms` is condemned.
    """
    names = [
        keys.workers, keys.holders, keys.held(holder), keys.started(holder), keys.ready, keys.ranked,
        keys.rank, keys.crashes, keys.jobs, keys.tries, keys.timer, keys.bell, keys.cancels, keys.done,
        keys.settled(holder),
    ]  # fmt: skip
    charge = "all" if running is None else "named"
    order = "lifo" if lifo else "fifo"
    args = [
        holder, keys.stem, "1" if forced else "0", BATCH, limit, window_ms, order, charge, *(running or ()),
    ]  # fmt: skip
    return Transition(scripts.load("recover"), names, args, _recovered)


class Holding(NamedTuple):
    ids: list[bytes]
    envelopes: list[bytes | None]
    tries: list[bytes | None]
    crashes: list[bytes | None]


def _holding(reply: list[Any]) -> Holding:
    return Holding(*reply)


def reconcile(keys: QueueKeys, holder: str) -> Transition[Holding]:
    """Everything that the holder holds, as Redis sees it."""
    return Transition(
        scripts.load("reconcile"), [keys.held(holder), keys.jobs, keys.tries, keys.crashes], [], _holding
    )
