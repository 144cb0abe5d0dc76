"""Every transition that there is, once, with arguments that would do something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ferryman.store import Transition, inspection, transitions
from ferryman.store.keys import QueueKeys
from ferryman.store.transitions import Burial, Deferral, Kept, Later

MINUTE = 29_000_000
Sample = Callable[[QueueKeys], Transition[Any]]


def enqueue(local: str, **how: Any) -> Sample:
    return lambda keys: transitions.enqueue(keys, f"lane{local}", 1, [local, b"body"], **how)


def numbered(sample: Sample) -> Sample:
    """As a worker sends it."""

    def described(keys: QueueKeys) -> Transition[Any]:
        transition = sample(keys)
        transitions.number(transition, "0", 7)
        return transition

    return described


SAMPLES: dict[str, Sample] = {
    "enqueue": enqueue("j1"),
    "enqueue with a chosen id": enqueue("j2", chosen=True),
    "enqueue with a delay": enqueue("j3", due="+3600000"),
    "enqueue with a priority": enqueue("j4", priority=3),
    "enqueue with a cost": enqueue("j5", cost_ms=2.5),
    "fetch": lambda keys: transitions.fetch(keys, "ada", 100),
    "ack": lambda keys: transitions.ack(
        keys,
        "ada",
        ["h1"],
        kept=[Kept("h2", 60_000, b"result")],
        histories=[("h1", 0)],
        minute=MINUTE,
        counters=[("ok:task", 2)],
    ),
    "retry": lambda keys: transitions.retry(keys, "ada", [Later("h1", 60_000, 1, b"record")]),
    "snooze": lambda keys: transitions.snooze(keys, "ada", [Later("h1", 60_000, 0)]),
    "defer": lambda keys: transitions.defer(keys, "ada", [Deferral("h1", 2, 60_000)]),
    "summon": lambda keys: transitions.summon(keys, "ada", 2, 100),
    "bury": lambda keys: transitions.bury(
        keys, "ada", [Burial("h1", 1, b"record", "print", "task")], minute=MINUTE, most=100, oldest_ms=60_000
    ),
    "release": lambda keys: transitions.release(keys, "ada", ["h1", "h2"]),
    "release of a cancelled job": lambda keys: transitions.release(keys, "ada", ["h1", "h3"]),
    "retry of a cancelled job": lambda keys: transitions.retry(
        keys, "ada", [Later("h1", 60_000, 1, b"record"), Later("h3", 60_000, 1, b"record")]
    ),
    "burial of a cancelled job": lambda keys: transitions.bury(
        keys, "ada", [Burial("h3", 1, b"record", "print", "task")], minute=MINUTE, most=100, oldest_ms=60_000
    ),
    "success of a cancelled job": lambda keys: transitions.ack(keys, "ada", ["h3"], minute=MINUTE),
    "announce": lambda keys: transitions.announce(keys, "ada", ["h1"]),
    "drop": lambda keys: transitions.drop(keys, "ada", ["h1"]),
    "register": lambda keys: transitions.register(keys, "eve", 60_000),
    "heartbeat": lambda keys: transitions.heartbeat(keys, ["ada"], 60_000),
    "insist": lambda keys: transitions.insist(keys.durations, "HSET", "task", 5),
    "retire": lambda keys: transitions.retire(keys, "bob"),
    "sweep": lambda keys: transitions.sweep(keys, 60_000),
    "recover": lambda keys: transitions.recover(
        keys, "ada", forced=True, limit=3, window_ms=60_000, running=None
    ),
    "reconcile": lambda keys: transitions.reconcile(keys, "ada"),
    "locate": lambda keys: inspection.locate(keys, "h1"),
    "cancel": lambda keys: inspection.cancel(keys, "d1", ttl_ms=60_000, record=b"record"),
    "cancel of a running job": lambda keys: inspection.cancel(
        keys, "h1", ttl_ms=60_000, record=b"record", running=True
    ),
    "revive": lambda keys: inspection.revive(keys, ["x1", "d1"]),
    "purge": lambda keys: inspection.purge(keys, "ready"),
    "purge of dead letters": lambda keys: inspection.purge(keys, "dead"),
    "survey": inspection.survey,
    "pause": lambda keys: inspection.pause(keys, "deploy"),
    "resume": lambda keys: inspection.pause(keys, ""),
}
NUMBERED = ("ack", "retry", "snooze", "defer", "bury", "release", "release of a cancelled job")
SAMPLES |= {f"numbered {name}": numbered(SAMPLES[name]) for name in NUMBERED}
