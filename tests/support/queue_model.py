"""What a queue should do, in plain Python: the reference that the Lua scripts are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ferryman import results
from tests.support.snapshot import Snapshot

PRIORITY_STEP = 2**42
COST_STEP = 2**16
LONGEST_COST = 2**26 - 1


SUCCESS = results.encode(results.ResultRecord(results.SUCCEEDED, "task"))
"""What an acknowledged job leaves that keeps its result."""


@dataclass
class QueueModel:
    """One queue. Ids are text; `line` holds the next job of a fifo queue first."""

    bodies: set[str] = field(default_factory=set)
    line: list[str] = field(default_factory=list)
    ghosts: set[str] = field(default_factory=set)
    ranks: dict[str, int] = field(default_factory=dict)
    ranked: set[str] = field(default_factory=set)
    waiting: dict[str, dict[str, int]] = field(default_factory=lambda: {"delayed": {}, "retries": {}})
    dead: dict[str, int] = field(default_factory=dict)
    held: dict[str, set[str]] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    holders: set[str] = field(default_factory=set)
    started: dict[str, set[str]] = field(default_factory=dict)
    settled: dict[str, dict[str, int]] = field(default_factory=dict)
    """The last call of each holder in each of its lanes."""
    tries: dict[str, int] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    cancels: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    paused: str = ""
    arrivals: int = 0

    # -- what the steps do -----------------------------------------------------------------------------------

    def enqueue(
        self, locals_: Sequence[str], *, due: int | None, priority: int | None, cost: float | None
    ) -> list[str]:
        """Hand over; gives the ids that existed."""
        existing = [local for local in locals_ if local in self.bodies or self.results.get(local) == SUCCESS]
        fresh = [local for local in locals_ if local not in existing]
        elsewhere = due is not None or priority is not None or cost is not None
        standing = []
        for local in fresh:
            self.results.pop(local, None)  # the record of a job that was cancelled gives way
            self.bodies.add(local)
            haunts = local in self.ghosts
            self.ghosts.discard(local)
            if haunts and elsewhere:
                self.line.remove(local)
            if not haunts or elsewhere:
                standing.append(local)
        if priority is not None or cost is not None:
            for local in standing:
                self.arrivals += 1
                self.ranks[local] = self._rank(priority, cost)
        if due is not None:
            self.waiting["delayed"].update(dict.fromkeys(standing, due))
        else:
            self.stand(standing, "last")
        return existing

    def _rank(self, priority: int | None, cost: float | None) -> int:
        base = -(priority or 0) * PRIORITY_STEP
        if cost is None:
            return base + self.arrivals
        return base + min(int(cost), LONGEST_COST) * COST_STEP + self.arrivals % COST_STEP

    def stand(self, locals_: Sequence[str], turn: str) -> None:
        """Into the line, or to their rank."""
        plain = [local for local in locals_ if local not in self.ranks]
        self.ranked.update(local for local in locals_ if local in self.ranks)
        if turn == "fifo":
            self.line[:0] = plain
        else:
            self.line.extend(plain if turn == "last" else reversed(plain))

    def fetch(self, holder: str, limit: int, *, lifo: bool, budget: int, now: int) -> tuple[str, list[str]]:
        """Take jobs; gives the state and the ids in order."""
        if holder not in self.leases:
            return "lost", []
        for place in ("delayed", "retries"):
            due = sorted((at, local) for local, at in self.waiting[place].items() if at <= now)[:budget]
            for _, local in due:
                del self.waiting[place][local]
            self.stand([local for _, local in due], "last")
        if self.paused:
            return "paused", []
        taken = self._jumping(limit, before=True)
        entries: list[str] = []
        while self.line and len(taken) + len(entries) < limit:
            entries.append(self.line.pop() if lifo else self.line.pop(0))
        taken += entries
        taken += self._jumping(limit - len(taken), before=False)
        found = [local for local in taken if local in self.bodies]
        self.ghosts.difference_update(taken)
        if found:
            self.held.setdefault(holder, set()).update(found)
        return "ok", found

    def _jumping(self, limit: int, *, before: bool) -> list[str]:
        order = sorted((self.ranks[local], local) for local in self.ranked)
        chosen = [local for rank, local in order if (rank < 0) == before][: max(limit, 0)]
        self.ranked.difference_update(chosen)
        return chosen

    def mine(self, holder: str, locals_: Sequence[str]) -> list[str]:
        """Those of the ids that the holder holds."""
        held = self.held.get(holder, set())
        return [local for local in locals_ if local in held]

    def leave(self, holder: str, locals_: Sequence[str]) -> None:
        self.held[holder].difference_update(locals_)
        if not self.held[holder]:
            del self.held[holder]

    def forget(self, local: str) -> None:
        """The job is gone from everywhere but its place."""
        self.bodies.discard(local)
        self.ranks.pop(local, None)
        self.tries.pop(local, None)
        self.crashes.pop(local, None)
        self.cancels.pop(local, None)

    def end_asked(self, holder: str, locals_: Sequence[str]) -> list[str]:
        """Of held ids that are let go, those end that somebody asked to cancel; gives the others."""
        others = []
        for local in locals_:
            record = self.cancels.get(local)
            if record is None:
                others.append(local)
                continue
            self.leave(holder, [local])
            self.forget(local)
            self.attempts.pop(local, None)
            if record:
                self.results[local] = record
        return others

    def ack(self, holder: str, plain: Sequence[str], kept: Sequence[str]) -> list[str]:
        """Finish; gives the refused."""
        own = self.mine(holder, [*kept, *plain])
        for local in own:
            self.forget(local)
            self.attempts.pop(local, None)
            if local in kept:
                self.results[local] = SUCCESS
        if own:
            self.leave(holder, own)
        return [local for local in [*kept, *plain] if local not in own]

    def later(self, place: str, holder: str, local: str, made: int, record: bool, due: int) -> bool:
        if not self.end_asked(holder, self.mine(holder, [local])):
            return False
        self.leave(holder, [local])
        self.waiting[place][local] = due
        if made:
            self.tries[local] = made
        if record:
            self.attempts[local] += 1
        return True

    def bury(self, holder: str, local: str, made: int, fingerprint: str, died: int) -> bool:
        if not self.end_asked(holder, self.mine(holder, [local])):
            return False
        self.leave(holder, [local])
        self.dead[local] = died
        self.tries[local] = made
        self.crashes.pop(local, None)
        self.attempts[local] += 1
        self.failures[fingerprint] += 1
        return True

    def cap_dead(self, most: int) -> None:
        excess = sorted((died, local) for local, died in self.dead.items())[: max(len(self.dead) - most, 0)]
        for _, local in excess:
            del self.dead[local]
            self.forget(local)
            self.attempts.pop(local, None)

    def release(self, holder: str, locals_: Sequence[str], *, lifo: bool) -> None:
        own = self.end_asked(holder, self.mine(holder, locals_))
        if own:
            self.leave(holder, own)
        self.stand(own, "lifo" if lifo else "fifo")

    def recover(
        self, holder: str, *, forced: bool, limit: int, running: Sequence[str] | None, lifo: bool, now: int
    ) -> tuple[int, set[str], set[str]]:
        """Gives what is left, the moved and the condemned."""
        if not forced and self.leases.get(holder, 0) > now:
            return -1, set(), set()
        self.leases.pop(holder, None)
        started = self.started.get(holder, set())
        moved: set[str] = set()
        condemned: set[str] = set()
        for local in self.end_asked(holder, list(self.held.get(holder, ()))):
            times = self.crashes.get(local, 0)
            charged = (not times or local in started) if running is None else local in running
            if charged and times < limit:
                times = self.crashes[local] = times + 1
                started.discard(local)
            (condemned if times >= limit else moved).add(local)
        if moved:
            self.leave(holder, list(moved))
            self.stand(sorted(moved, reverse=lifo), "lifo" if lifo else "fifo")
        if not condemned:
            self.holders.discard(holder)
            self.settled.pop(holder, None)
            started.clear()
        if not started:
            self.started.pop(holder, None)
        return len(condemned), moved, condemned

    def cancel(self, local: str, record: bytes, running: bool) -> str:
        if local not in self.bodies:
            return "gone"
        if any(local in held for held in self.held.values()):
            if not running:
                return "running"
            self.cancels.setdefault(local, record)
            return "asked"
        if local in self.line:
            self.ghosts.add(local)
        self.ranked.discard(local)
        for place in (*self.waiting.values(), self.dead):
            place.pop(local, None)
        self.forget(local)
        self.attempts.pop(local, None)
        return "cancelled"

    def revive(self, locals_: Sequence[str]) -> list[str]:
        moved = []
        for local in dict.fromkeys(locals_):
            found = [place for place in (self.dead, *self.waiting.values()) if local in place]
            for place in found:
                del place[local]
                moved.append(local)
            if found and found[0] is self.dead:
                self.tries.pop(local, None)
        self.stand(moved, "last")
        return moved

    def purge(self, place: str) -> int:
        places: dict[str, Any] = {
            "ready": self.line, "ranked": self.ranked, "dead": self.dead, **self.waiting,
        }  # fmt: skip
        gone = list(places[place])
        places[place].clear()
        jobs = [local for local in gone if local in self.bodies]
        for local in jobs:
            if local in self.tries:
                self.attempts.pop(local, None)
            self.forget(local)
        self.ghosts.difference_update(gone)
        return len(jobs)

    def retire(self, holder: str) -> int:
        left = len(self.held.get(holder, ()))
        if not left:
            self.leases.pop(holder, None)
            self.holders.discard(holder)
            self.started.pop(holder, None)
            self.settled.pop(holder, None)
        return left

    # -- comparison ------------------------------------------------------------------------------------------

    def expected(self) -> Snapshot:
        """What `observed` should make of the real queue."""
        return {
            "jobs": self.bodies,
            "ready": self.line,
            "ghosts": self.ghosts,
            "rank": self.ranks,
            "ranked": {local: self.ranks[local] for local in self.ranked},
            "delayed": self.waiting["delayed"],
            "retries": self.waiting["retries"],
            "dead": self.dead,
            "held": self.held,
            "workers": self.leases,
            "holders": self.holders,
            "started": self.started,
            "settled": self.settled,
            "tries": self.tries,
            "crashes": self.crashes,
            "attempts": dict(self.attempts),
            "cancels": {local: b"3600000 " + record for local, record in self.cancels.items()},
            "results": self.results,
            "failures": dict(self.failures),
            "paused": self.paused,
        }


def observed(state: Snapshot) -> Snapshot:
    """The real queue in the model's terms."""

    def numbers(name: str) -> dict[str, int]:
        return {local.decode(): int(value) for local, value in state.get(name, {}).items()}

    def texts(name: str) -> set[str]:
        return {local.decode() for local in state.get(name, ())}

    def family(name: str) -> dict[str, Any]:
        stem = f"{name}:"
        return {key.removeprefix(stem): value for key, value in state.items() if key.startswith(stem)}

    return {
        "jobs": texts("jobs"),
        "ready": [local.decode() for local in reversed(state.get("ready", []))],
        "ghosts": texts("ghosts"),
        **{
            name: numbers(name)
            for name in ("rank", "ranked", "delayed", "retries", "dead", "workers", "tries", "failures")
        },
        "held": {holder: {local.decode() for local in held} for holder, held in family("held").items()},
        "holders": texts("holders"),
        "started": {holder: {local.decode() for local in ids} for holder, ids in family("started").items()},
        "settled": {
            holder: {lane.decode(): int(number) for lane, number in last.items()}
            for holder, last in family("settled").items()
        },
        "crashes": {
            local.decode(): int(value.split(b":")[0]) for local, value in state.get("crashes", {}).items()
        },
        "cancels": {local.decode(): request for local, request in state.get("cancels", {}).items()},
        "attempts": {local: len(records) for local, records in family("attempts").items()},
        "results": family("result"),
        "paused": state.get("paused", b"").decode(),
    }
