"""Looking at jobs and queues, and changing them by hand: transitions that are not on a job's usual way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ferryman.store import scripts
from ferryman.store.keys import QueueKeys
from ferryman.store.transitions import BATCH, Transition, _texts

KEEP_REVIVED_MS = 7 * 86_400_000
"""How long the records of a revived job's failed attempts are kept, unless it fails again."""


class Located(NamedTuple):
    """A job's place and everything that is kept about it."""

    place: str
    """``ready``, ``ranked``, ``delayed``, ``retries``, ``held``, ``dead`` or ``gone``."""
    envelope: bytes | None
    score: float | None
    """Due time (ms), time of death (ms) or rank, by place."""
    holder: str | None
    tries: int
    crashes: int
    result: bytes | None
    attempts: list[bytes]


def _located(reply: list[Any]) -> Located:
    place, envelope, score, holder, tries, crashes, result, attempts = reply
    return Located(
        place.decode(),
        envelope,
        None if score is None else float(score),
        None if holder is None else holder.decode(),
        int(tries or 0),
        int(crashes.split(b":")[0]) if crashes else 0,
        result,
        attempts,
    )


def locate(keys: QueueKeys, local: str) -> Transition[Located]:
    """Where a job is, and its history."""
    names = [
        keys.jobs, keys.delayed, keys.retries, keys.ranked, keys.dead, keys.holders, keys.tries, keys.crashes,
        keys.result(local), keys.attempts(local),
    ]  # fmt: skip
    return Transition(scripts.load("locate"), names, [local, keys.stem], _located)


def cancel(
    keys: QueueKeys, local: str, *, ttl_ms: int, record: bytes, running: bool = False
) -> Transition[str]:
    """Take a job that nobody runs out of its queue. Reads as ``cancelled``, ``running`` or ``gone``.

    `running`: a job that a worker holds is asked to end, which reads as ``asked``.
    """
    names = [
        keys.jobs, keys.delayed, keys.retries, keys.ranked, keys.dead, keys.holders, keys.ready, keys.ghosts,
        keys.rank, keys.tries, keys.crashes, keys.result(local), keys.attempts(local), keys.done,
        keys.cancels, keys.orders,
    ]  # fmt: skip
    args = [local, keys.stem, ttl_ms, record, "1" if running else "0"]
    return Transition(scripts.load("cancel"), names, args, bytes.decode)


def revive(keys: QueueKeys, locals_: Sequence[str]) -> Transition[list[str]]:
    """Give dead or waiting jobs their turn now. Reads as the ids that were moved."""
    names = [keys.dead, keys.delayed, keys.retries, keys.ready, keys.ranked, keys.rank, keys.tries, keys.bell]
    names += [keys.attempts(local) for local in locals_]
    return Transition(scripts.load("revive"), names, [KEEP_REVIVED_MS, *locals_], _texts)


class Purged(NamedTuple):
    entries: int
    """0: the place is empty."""
    jobs: int
    """How many of the entries were jobs; the others had been cancelled."""


def purge(keys: QueueKeys, place: str, batch: int = BATCH) -> Transition[Purged]:
    """Delete up to `batch` jobs of one place."""
    names = [getattr(keys, place), keys.jobs, keys.rank, keys.tries, keys.crashes, keys.ghosts]
    kind = "list" if place == "ready" else "zset"
    return Transition(scripts.load("purge"), names, [batch, keys.stem, kind], lambda reply: Purged(*reply))


class Survey(NamedTuple):
    """How a queue stands."""

    now_ms: int
    ready: int
    ranked: int
    delayed: int
    retries: int
    held: int
    dead: int
    ghosts: int
    workers: int
    paused: str | None
    oldest: bytes | None
    """Envelope of the job that has stood in `ready` the longest."""
    next_due_ms: int | None


def _survey(reply: list[Any]) -> Survey:
    *numbers, paused, oldest, next_due = reply
    reason = None if paused is None else paused.decode()
    return Survey._make([*numbers, reason, oldest, None if next_due is None else int(float(next_due))])


def survey(keys: QueueKeys) -> Transition[Survey]:
    """The lengths of a queue's places, and its head."""
    names = [
        keys.jobs, keys.ready, keys.ranked, keys.delayed, keys.retries, keys.dead, keys.workers, keys.holders,
        keys.paused, keys.ghosts,
    ]  # fmt: skip
    return Transition(scripts.load("survey"), names, [keys.stem], _survey)


def pause(keys: QueueKeys, reason: str) -> Transition[bool]:
    """Stop the fetching of a queue's jobs for `reason`; an empty reason resumes it. Reads as whether that
    changed anything.
    """
    return Transition(scripts.load("pause"), [keys.paused, keys.bell], [reason], bool)
