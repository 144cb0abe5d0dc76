"""The protocol's model: each run keeps the promises, a mistake is found, and the scripts do what it says."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ferryman.store import Store, Transition, inspection, transitions
from ferryman.store.transitions import Burial, Later
from tests.support.server import RedisServer
from tests.support.snapshot import snapshot
from tests.support.spin import require_spin, search, walk

pytestmark = pytest.mark.timeout(400)  # on a machine that is busy with other things

CALM = "LOSSES=0 LAPSES=0 CRASHES=0 BACKS=0"
WORLDS = {
    "lost requests and replies": "LOSSES=1 LAPSES=0 CRASHES=0 BACKS=1",
    "a pause past the lease": "LOSSES=0 LAPSES=1 CRASHES=0 BACKS=0",
    "a death": "LOSSES=0 LAPSES=0 CRASHES=1 BACKS=0",
    "a poisonous job": f"{CALM} POISON=1",
    "two jobs": f"{CALM} JOBS=2",
    "a worker that ends": "LOSSES=1 LAPSES=0 CRASHES=0 BACKS=0 QUITS=1",
    "an id that is used again": f"{CALM} CALLS=2 CANCELS=1",
    "a script that stops midway": f"{CALM} STOPS=1",
    "a settlement that arrives when it was given up": "LOSSES=1 LAPSES=0 CRASHES=0 BACKS=0 LATE=1",
    "a settlement repeated when its id is used again": "LOSSES=1 LAPSES=0 CRASHES=0 BACKS=0 CALLS=2",
}
ENDING = ["lost requests and replies", "a pause past the lease", "a poisonous job", "a worker that ends"]
"""Where it is also shown that no run is endless, which costs three times as much."""
LARGE = {
    "a death": WORLDS, "a pause past the lease": ENDING, "a worker that ends": ENDING,
    "lost requests and replies": ENDING,
}  # fmt: skip
"""Searches that are left to `make model`: the longest, 6 to 8 seconds of a processor each."""


def affordable(worlds: Iterable[str]) -> list[str]:
    """Those of the worlds that this run looks at."""
    whole = os.environ.get("FERRYMAN_MODEL") == "whole"
    return [world for world in worlds if whole or LARGE.get(world) is not worlds]


MISTAKES = {
    "an ack that asks for no ownership": ("MUTATION=1 LOSSES=0 LAPSES=1 CRASHES=0 BACKS=0", False),
    "a recovery that leaves jobs held": ("MUTATION=2 LOSSES=0 LAPSES=0 CRASHES=1 BACKS=0", False),
    "an enqueue without its lane's number": ("MUTATION=3 LOSSES=1 LAPSES=0 CRASHES=0 BACKS=0", False),
    "out of the old place before into the new": (f"MUTATION=4 {CALM} STOPS=1", False),
    "no reconciliation": ("MUTATION=7 LOSSES=1 LAPSES=0 CRASHES=0 BACKS=0", True),
    "crashes that are not counted": (f"MUTATION=8 {CALM} POISON=1", True),
    "suspects that are not announced": (f"MUTATION=9 {CALM} POISON=1", True),
    "ghosts that are forgotten": (f"MUTATION=11 {CALM} CALLS=2 CANCELS=1", False),
    "a heartbeat that revives a lost lease": ("MUTATION=12 LOSSES=0 LAPSES=1 CRASHES=0 BACKS=0", False),
    "a sweep that looks at leases only": ("MUTATION=10 LOSSES=0 LAPSES=0 CRASHES=1 BACKS=0 POISON=1", False),
    "a fetch without a lease": ("MUTATION=14 LOSSES=0 LAPSES=1 CRASHES=1 BACKS=0", False),
    "neighbours that are charged": (f"MUTATION=16 {CALM} JOBS=2 POISON=1", False),
    "a lease that ends with jobs in it": ("MUTATION=15 LOSSES=1 LAPSES=0 CRASHES=0 BACKS=0 QUITS=1", False),
    "late settlements without numbers": ("MUTATION=17 LOSSES=1 LAPSES=0 CRASHES=0 BACKS=0 LATE=1", False),
    "repeated settlements without numbers": (
        "MUTATION=17 LOSSES=1 LAPSES=0 CRASHES=0 BACKS=0 CALLS=2",
        False,
    ),
}


@pytest.mark.parametrize("world", affordable(WORLDS))
def test_no_run_breaks_a_promise(world: str, tmp_path: Path) -> None:
    require_spin()
    found = search(tmp_path, WORLDS[world], endless=False)
    assert found.errors == 0, found.report
    assert found.whole, found.report


@pytest.mark.parametrize("world", affordable(ENDING))
def test_no_run_is_endless(world: str, tmp_path: Path) -> None:
    require_spin()
    found = search(tmp_path, WORLDS[world], endless=True)
    assert found.errors == 0, found.report
    assert found.whole, found.report


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_model_is_found(mistake: str, tmp_path: Path) -> None:
    require_spin()
    sizes, endless = MISTAKES[mistake]
    assert search(tmp_path, sizes, endless=endless).errors == 1


# -- the model and the scripts ------------------------------------------------------------------------------

LEASE_MS = 3_600_000


class Replay:
    """Carries the steps of a walk out on a real server."""

    def __init__(self, server: RedisServer, prefix: str, *, chosen: bool) -> None:
        self.store = Store(server.url, prefix=prefix, timeout_s=5, patience_s=1)
        self.client = server.client()
        self.keys = self.store.keys("q")
        self.chosen = chosen
        self.names = {1: "n1", 2: "n2", 3: "n3"}

    def run(self, transition: Transition[Any]) -> Any:
        return self.store.run(transition)

    def step(self, kind: str, numbers: list[int]) -> None:
        getattr(self, kind)(*numbers)

    def enqueue(self, number: int, job: int, later: int) -> None:
        due = "+3000000" if later else ""
        self.run(
            transitions.enqueue(self.keys, "lane", number, [f"j{job}", b"body"], chosen=self.chosen, due=due)
        )

    def cancel(self, job: int) -> None:
        self.run(inspection.cancel(self.keys, f"j{job}", ttl_ms=0, record=b""))

    def register(self, name: int) -> None:
        self.client.delete(
            self.keys.settled(self.names[name])
        )  # what came late for the last who was called so
        self.run(transitions.register(self.keys, self.names[name], LEASE_MS))

    def heartbeat(self, name: int) -> None:
        self.run(transitions.heartbeat(self.keys, [self.names[name]], LEASE_MS))

    def promote(self, name: int, job: int) -> None:
        for place in (self.keys.delayed, self.keys.retries):
            self.client.zadd(place, {f"j{job}": 1}, xx=True)
        self.run(transitions.fetch(self.keys, self.names[name], 0))

    def fetch(self, name: int, job: int) -> None:
        local = f"j{job}"
        if self.client.lrem(self.keys.ready, 1, local):  # the model knows no order
            self.client.rpush(self.keys.ready, local)
        self.run(transitions.fetch(self.keys, self.names[name], 1))

    def settle(self, name: int, job: int, kind: int, made: int, call: int) -> None:
        holder, local = self.names[name], f"j{job}"
        step: Transition[Any]
        if kind == 1:
            step = transitions.ack(self.keys, holder, [local])
        elif kind == 3:
            step = transitions.release(self.keys, holder, [local])
        elif made <= 1:
            step = transitions.retry(self.keys, holder, [Later(local, 3_000_000, made)])
        else:
            step = self.burial(name, job, made)
        if call:
            transitions.number(step, "0", call)
        self.run(step)

    def bury(self, name: int, job: int, made: int) -> None:
        self.run(self.burial(name, job, made))

    def burial(self, name: int, job: int, made: int) -> Transition[Any]:
        burial = Burial(f"j{job}", made, b"record", "print", "task")
        return transitions.bury(
            self.keys, self.names[name], [burial], minute=1, most=100, oldest_ms=86_400_000
        )

    def announce(self, name: int, mask: int) -> None:
        self.run(transitions.announce(self.keys, self.names[name], jobs_in(mask)))

    def recover(self, name: int, forced: int, running: int) -> None:
        self.run(
            transitions.recover(
                self.keys, self.names[name], forced=bool(forced), limit=2, window_ms=86_400_000,
                running=jobs_in(running) if forced else None,
            )
        )  # fmt: skip

    def retire(self, name: int) -> None:
        self.run(transitions.retire(self.keys, self.names[name]))

    def lapse(self, name: int) -> None:
        self.client.zadd(self.keys.workers, {self.names[name]: 1}, xx=True)

    def sweep(self, name: int) -> None:
        self.client.delete(self.keys.swept)
        assert self.names[name] in self.run(transitions.sweep(self.keys, 1000))

    def reconcile(self, name: int, mask: int) -> None:
        held = self.run(transitions.reconcile(self.keys, self.names[name])).ids
        assert sorted(local.decode() for local in held) == jobs_in(mask)

    def rows(self, jobs: int) -> list[list[int]]:
        """The state of the server, as the model writes its own."""
        state = snapshot(self.client, self.keys)
        found = []
        for job in range(jobs):
            local = f"j{job}".encode()
            later = local in state.get("delayed", ()) or local in state.get("retries", ())
            crashes = state.get("crashes", {}).get(local, b"0").split(b":")[0]
            found.append(
                [
                    job, int(local in state.get("jobs", ())), state.get("ready", []).count(local), int(later),
                    int(local in state.get("dead", ())), int(local in state.get("ghosts", ())),
                    int(state.get("tries", {}).get(local, 0)), int(crashes),
                ]
            )  # fmt: skip
        for number, holder in self.names.items():
            expiry = state.get("workers", {}).get(holder.encode())
            lease = 0 if expiry is None else 1 if expiry > 1 else 2
            registered = int(holder.encode() in state.get("holders", ()))
            held, started = (mask_of(state.get(f"{what}:{holder}", ())) for what in ("held", "started"))
            told = state.get(f"settled:{holder}", {}).get(b"0", 0) if registered else 0
            found.append([number, held, started, lease, registered, int(told)])
        return found


def jobs_in(mask: int) -> list[str]:
    return [f"j{job}" for job in range(2) if mask >> job & 1]


def mask_of(ids: Any) -> int:
    return sum(1 << int(local[1:]) for local in ids)


WALKS = [
    "JOBS=2 LOSSES=4 LAPSES=2 CRASHES=2 BACKS=2 QUITS=1",
    "JOBS=2 LOSSES=2 LAPSES=1 CRASHES=1 BACKS=2 POISON=1",
    "JOBS=1 LOSSES=0 LAPSES=2 CRASHES=1 BACKS=2 CALLS=4 CANCELS=3",
    "JOBS=1 LOSSES=5 LAPSES=0 CRASHES=0 BACKS=4 LATE=1 CALLS=3",
]
EVERY_STEP = {
    "enqueue", "cancel", "register", "heartbeat", "promote", "fetch", "settle", "bury", "announce", "recover",
    "retire", "lapse", "sweep", "reconcile",
}  # fmt: skip


def test_the_scripts_do_what_the_model_says(server: RedisServer, prefix: str, tmp_path: Path) -> None:
    require_spin()
    seen: set[str] = set()
    for number, sizes in enumerate(WALKS):
        for seed in range(1, 26):
            replay = Replay(server, f"{prefix}-{number}-{seed}", chosen="CALLS" in sizes)
            expected: list[list[int]] = []
            story: list[str] = []
            for sign, what, *rest in walk(tmp_path, sizes, seed):
                if sign == "@":
                    seen.add(what)
                    story.append(" ".join([what, *rest]))
                    replay.step(what, [int(word) for word in rest])
                elif what != "end":
                    expected.append([int(word) for word in rest])
                else:
                    jobs = len(expected) - len(replay.names)
                    assert replay.rows(jobs) == expected, f"{sizes}, seed {seed}: {'; '.join(story)}"
                    expected = []
            replay.store.close()
            replay.client.close()
    assert seen == EVERY_STEP
