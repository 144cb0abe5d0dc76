"""The life of a schedule as transitions: keep it, look what is due, fire ticks, and agree on who does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ferryman.store import scripts
from ferryman.store.keys import FleetKeys, QueueKeys
from ferryman.store.transitions import Transition, _same, _texts

KEEP_RUNS = 100
"""Lines of history kept for one schedule, the newest."""
KEEP_DROPPED_MS = 7 * 86_400_000
"""How long the history of a schedule that was deleted is kept."""
LOOK_LIMIT = 2000
"""Ticks in one look: records of some 300 bytes each."""
FIRE_LIMIT = 250
"""Ticks in one script call: past that it would keep Redis from its other clients for more than some 3 ms."""
_VACANCY_MS = 10_000


# -- leadership ----------------------------------------------------------------------------------------------


class Leadership(NamedTuple):
    now_ms: int
    token: int
    """Under which the caller leads; 0: another does."""
    left_ms: int
    """How long the present leader's lease lasts."""


def lead(keys: FleetKeys, scheduler: str, lease_ms: int) -> Transition[Leadership]:
    """Lead the schedulers, or go on leading."""
    names = [keys.leader, keys.leader_token]
    return Transition(scripts.load("lead"), names, [scheduler, lease_ms], lambda reply: Leadership(*reply))


def resign(keys: FleetKeys, scheduler: str) -> Transition[bool]:
    """Stop leading. Reads as whether the caller led."""
    return Transition(scripts.load("resign"), [keys.leader, keys.vacancy], [scheduler, _VACANCY_MS], bool)


# -- what is kept --------------------------------------------------------------------------------------------


class KeptSchedule(NamedTuple):
    now_ms: int
    record: bytes | None
    hands: bytes | None
    due_ms: int | None
    owed_ms: int | None


def _kept(reply: list[Any]) -> KeptSchedule:
    now, record, hands, due, owed = reply
    return KeptSchedule(
        now, record, hands, None if due is None else int(float(due)), None if owed is None else int(owed)
    )


def get_schedule(keys: QueueKeys, name: str) -> Transition[KeptSchedule]:
    """A schedule as it is kept."""
    names = [keys.schedules, keys.ticks, keys.hands, keys.owed]
    return Transition(scripts.load("schedule_get"), names, [name], _kept)


def put_schedule(
    keys: QueueKeys, name: str, *, expected: str, record: bytes, hands: str, due_ms: int | None
) -> Transition[bool]:
    """Keep a schedule's record if its hands stand at `expected` (empty: if there is none). Reads as whether
    that was so.
    """
    names = [keys.schedules, keys.ticks, keys.hands, keys.owed, keys.runs(name)]
    args = [name, expected, record, hands, "" if due_ms is None else due_ms]
    return Transition(scripts.load("schedule_put"), names, args, bool)


class Dropped(NamedTuple):
    done: bool
    hands: bytes | None


def drop_schedule(keys: QueueKeys, name: str, expected: str = "") -> Transition[Dropped]:
    """Forget a schedule, if its hands stand at `expected` where that is given."""
    names = [keys.schedules, keys.ticks, keys.hands, keys.owed, keys.runs(name)]
    return Transition(
        scripts.load("schedule_drop"), names, [name, expected, KEEP_DROPPED_MS],
        lambda reply: Dropped(bool(reply[0]), reply[1]),
    )  # fmt: skip


# -- ticks ---------------------------------------------------------------------------------------------------


class Coming(NamedTuple):
    """A tick that comes due soon."""

    name: str
    due_ms: int
    record: bytes | None
    hands: bytes | None


class Outlook(NamedTuple):
    """What a queue's schedules need soon."""

    now_ms: int
    deposed: bool
    next_due_ms: int | None
    """Of the first tick that is not in `coming`."""
    coming: list[Coming]
    owed: list[tuple[str, int]]
    """Schedules with a tick that waits for the run before it, and its nominal time."""
    overtaken: list[str]
    """Running jobs that a later tick wants cancelled."""


def _outlook(reply: list[Any]) -> Outlook:
    now, state, after, names, dues, records, hands, owed, overtaken = reply
    coming = [
        Coming(name.decode(), int(float(due)), record, stand)
        for name, due, record, stand in zip(names, dues, records, hands, strict=True)
    ]
    waiting = [(name.decode(), int(at)) for name, at in zip(owed[::2], owed[1::2], strict=True)]
    after_ms = None if after is None else int(float(after))
    return Outlook(now, state != b"ok", after_ms, coming, waiting, _texts(overtaken))


def look(
    keys: QueueKeys, token: int, ahead_ms: int, *, skip: int = 0, limit: int = LOOK_LIMIT
) -> Transition[Outlook]:
    """What comes due within `ahead_ms`, in pages."""
    names = [keys.ticks, keys.schedules, keys.hands, keys.owed, keys.overtaken, keys.fence]
    return Transition(scripts.load("look"), names, [token, ahead_ms, skip, limit], _outlook)


class Entry(NamedTuple):
    """A job of a tick; without an envelope it is a line in the history only."""

    local: str
    nominal_ms: int
    kind: str
    envelope: bytes = b""


class Firing(NamedTuple):
    """What is to happen to one schedule."""

    name: str
    guard: str
    """``hands``, ``owed`` or ``none``: what `expected` is compared with."""
    expected: str
    moved: str
    """Where the hands stand from now on; empty leaves them."""
    next_due_ms: int | None
    due_ms: int | None
    overlap: str
    priority: int | None
    cost_ms: float | None
    entries: Sequence[Entry]


class Fired(NamedTuple):
    now_ms: int
    deposed: bool
    statuses: list[tuple[str, int]]
    """For each: ``fired``, ``stale``, ``early``, ``owed`` or ``waiting``, and the number of new jobs."""


def _fired(reply: list[Any]) -> Fired:
    now, state, flat = reply
    statuses = [(status.decode(), made) for status, made in zip(flat[::2], flat[1::2], strict=True)]
    return Fired(now, state != b"ok", statuses)


def tick(keys: QueueKeys, token: int | None, firings: Sequence[Firing]) -> Transition[Fired]:
    """Enqueue the jobs of ticks and move the hands on. `token` is the leader's; None for a person.

    Repeatable: a tick whose hands have moved is stale, and a job that exists is not made again.
    """
    names = [
        keys.jobs, keys.ready, keys.ranked, keys.rank, keys.bell, keys.ghosts, keys.seq, keys.dead,
        keys.ticks, keys.hands, keys.owed, keys.overtaken, keys.fence,
    ]  # fmt: skip
    names += [keys.runs(firing.name) for firing in firings]
    args: list[Any] = ["" if token is None else token, KEEP_RUNS, len(firings)]
    for firing in firings:
        args += [
            firing.name, firing.guard, firing.expected, firing.moved, _or_empty(firing.next_due_ms),
            _or_empty(firing.due_ms), firing.overlap, _or_empty(firing.priority), _or_empty(firing.cost_ms),
            len(firing.entries),
        ]  # fmt: skip
        for entry in firing.entries:
            args += [entry.local, entry.nominal_ms, entry.kind, entry.envelope]
            if entry.local != "-":
                names.append(keys.result(entry.local))
    return Transition(scripts.load("tick"), names, args, _fired)


def _or_empty(value: float | None) -> float | str:
    return "" if value is None else value


def put_off(keys: QueueKeys, token: int, pause_ms: int, ticks: Sequence[tuple[str, int]]) -> Transition[int]:
    """Look at these schedules again later, given with the time at which each was due."""
    args: list[Any] = [token, pause_ms]
    for name, due_ms in ticks:
        args += [name, due_ms]
    return Transition(scripts.load("put_off"), [keys.ticks, keys.fence], args, _same)
