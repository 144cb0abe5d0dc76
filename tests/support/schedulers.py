"""A scheduler in the hands of a test: its turns are taken, and its clock moved, by the test.

with Bench("2026-03-28T12:00Z") as bench:                  # a store in this process, whose clock stands
    bench.app.schedule(task, name="hourly", cron="0 * * * *")
    bench.sync()
    bench.advance(hours=1)
    assert bench.fired() == ["hourly:20260328T130000Z"]
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self

from ferryman import Ferryman, envelope
from ferryman.execution import Attempt
from ferryman.outcome import Failed, Succeeded
from ferryman.scheduler.clock import ServerClock
from ferryman.scheduler.engine import Engine
from ferryman.scheduler.lease import Lease
from ferryman.schedules.sync import Sync, sync
from ferryman.store.memory import MemoryPool
from ferryman.testing.clock import PrivateStore
from ferryman.testing.holder import Holder

MAX_TURNS = 10_000


class StoodClock(ServerClock):
    """The clock of a store in memory, which stands where a test has put it."""

    def __init__(self, pool: MemoryPool) -> None:
        super().__init__()
        self._pool = pool

    def now_ms(self) -> float:
        return float(self._pool.now_ms())

    def learn(self, server_ms: int, asked_ms: float) -> None:
        """There is nothing to learn."""


class Bench:
    """An app on a store in memory, with one scheduler or more."""

    def __init__(self, start: str = "2026-01-01T00:00Z", *, queue: str = "default") -> None:
        self.app = Ferryman("memory://", default_queue=queue)
        store = PrivateStore(prefix="bench", timeout_s=1)
        vars(self.app)["store"] = store
        self.pool = store.memory
        self._holder = Holder(self.app, store)
        self.queue = queue
        self.cancelled: list[str] = []
        self.pool.set_clock(_ms(start))
        self.scheduler = self.new_scheduler("first")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.app.close()

    def new_scheduler(self, name: str) -> Engine:
        """Another scheduler; the lease counts by the store's clock."""
        lease = Lease(self.app.store.fleet_keys, name, 5000, lambda: float(self.pool.now_ms()))
        link = self.pool._make()
        return Engine(self.app, link, lease, StoodClock(self.pool), cancel=self._cancel)

    def _cancel(self, _: Ferryman, queue: str, local: str) -> None:
        self.cancelled.append(local)

    # -- time ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """Where the clock stands."""
        return datetime.fromtimestamp(self.pool.now_ms() / 1000, UTC)

    def move(self, moment: str | datetime) -> None:
        """Set the clock, forward or back; nobody takes a turn."""
        self.pool.set_clock(_ms(moment))

    def skip(self, **by: float) -> None:
        """Move the clock on; nobody takes a turn: the schedulers are down."""
        self.move(self.now + timedelta(**by))

    def advance(self, **by: float) -> None:
        """Let the time pass with the scheduler at work. What is idle time to it is passed over: the clock
        goes from one due moment to the next.
        """
        end = self.pool.now_ms() + round(timedelta(**by).total_seconds() * 1000)
        for _ in range(MAX_TURNS):
            pause = self.turn()
            now = self.pool.now_ms()
            if now >= end:
                return
            wake = now + max(int(pause) + (pause % 1 > 0), 1)
            busy = any(prospect.stale for prospect in self.scheduler._prospects.values())
            self.pool.set_clock(min(end, wake if busy else max(wake, self._next_due_ms())))
        raise AssertionError("the scheduler takes turns without end")

    def _next_due_ms(self) -> int:
        heads = []
        for queue in self.pool.command("SMEMBERS", self.app.store.fleet_keys.scheduled_queues):
            ticks = self.app.store.keys(queue.decode()).ticks
            heads += [int(due) for _, due in self.pool.command("ZRANGE", ticks, 0, 0, "WITHSCORES")]
        return min(heads, default=1 << 52)

    def turn(self, scheduler: Engine | None = None) -> float:
        """Turns until there is nothing to do now; how many ms there is not."""
        chosen = scheduler or self.scheduler
        for _ in range(1000):
            pause = chosen.turn()
            if pause > 0:
                return pause
        raise AssertionError("a scheduler finds no rest")

    # -- what there is ---------------------------------------------------------------------------------------

    def sync(self, source: str = "code:test") -> Sync:
        """What a scheduler does at its start."""
        return self.app.store.drive(sync(self.app, source, self.app.declared))

    def fired(self, queue: str | None = None) -> list[str]:
        """Local ids of the jobs in the queue, in the order in which they came."""
        return [job.local for job in self.app.queue(queue or self.queue).jobs()]

    def letters(self, queue: str | None = None) -> list[envelope.Envelope]:
        """Their envelopes."""
        keys = self.app.store.keys(queue or self.queue)
        return [envelope.decode(self.pool.command("HGET", keys.jobs, local)) for local in self.fired(queue)]

    def finish(self, local: str, queue: str | None = None, *, succeeded: bool = True) -> None:
        """End a job, as a worker would."""
        attempt = self._holder.take_this(queue or self.queue, local)
        assert attempt is not None, f"{local} does not wait"
        outcome = Succeeded(None) if succeeded else Failed(ValueError("no"), "rejected")
        self._holder.settle(attempt, outcome)

    def take(self, queue: str | None = None) -> Attempt | None:
        """Let a worker take the next job and hold it."""
        return self._holder.take(queue or self.queue)

    def kinds(self, name: str) -> list[str]:
        """The kinds of the schedule's runs, oldest first."""
        return [run.kind for run in reversed(self.app.schedules.history(name, 100))]


def _ms(moment: str | datetime) -> int:
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    assert found.tzinfo is not None
    return round(found.timestamp() * 1000)
