"""A worker played by hand, one transition at a time, for tests of what everybody else sees."""

from __future__ import annotations

from typing import Any

import msgspec

from ferryman import Ferryman, results
from ferryman.outcome import AttemptRecord
from ferryman.store import transitions
from ferryman.store.transitions import Burial, Fetched, Kept, Later

LEASE_MS = 60_000


class Hand:
    """Holds jobs of one queue of an app under the name `holder`."""

    def __init__(self, app: Ferryman, queue: str, holder: str = "ada") -> None:
        self.app = app
        self.keys = app.store.keys(queue)
        self.holder = holder
        self.lifo = app.queue_order(queue) == "lifo"
        self.run = app.store.run
        self.run(transitions.register(self.keys, holder, LEASE_MS))

    def fetch(self, limit: int = 100) -> Fetched:
        return self.run(transitions.fetch(self.keys, self.holder, limit, lifo=self.lifo))

    def take(self, limit: int = 100) -> list[str]:
        """The ids that a fetch gives."""
        return [local.decode() for local in self.fetch(limit).ids]

    def ack(self, *locals_: str) -> None:
        assert self.run(transitions.ack(self.keys, self.holder, locals_)).refused == []

    def finish(self, local: str, value: Any, *, task: str = "task", ttl_ms: int = 60_000) -> None:
        """End a job that keeps what it returned."""
        record = results.ResultRecord(
            results.SUCCEEDED, task, msgspec.msgpack.encode(value), attempts=1, worker=self.holder,
            started_ms=self.app.store.server_ms(), finished_ms=self.app.store.server_ms(),
        )  # fmt: skip
        kept = [Kept(local, ttl_ms, results.encode(record))]
        assert self.run(transitions.ack(self.keys, self.holder, [], kept=kept)).refused == []

    def attempt(self, number: int, outcome: str, error: str) -> bytes:
        now = self.app.store.server_ms()
        return msgspec.msgpack.encode(
            AttemptRecord(number, outcome, self.holder, now, 5, error, "Traceback ...", "print")
        )

    def fail(self, local: str, *, number: int = 1, delay_ms: int = 60_000, error: str = "E: no") -> None:
        """A failed attempt that another follows."""
        later = Later(local, delay_ms, number, self.attempt(number, "failed", error))
        assert self.run(transitions.retry(self.keys, self.holder, [later])) == []

    def bury(self, local: str, *, number: int = 1, outcome: str = "failed", error: str = "E: no") -> None:
        """The last attempt failed."""
        burial = Burial(local, number, self.attempt(number, outcome, error), "print", "task")
        step = transitions.bury(self.keys, self.holder, [burial], minute=1, most=1000, oldest_ms=86_400_000)
        assert self.run(step) == []

    def give_up(self, local: str, way: str) -> None:
        """Let a held job go without having done it, in one of the ways that there are."""
        if way == "recover":
            self.run(
                transitions.recover(
                    self.keys, self.holder, forced=True, limit=3, window_ms=60_000, running=[local]
                )
            )
            self.run(transitions.register(self.keys, self.holder, LEASE_MS))
        elif way == "snooze":
            self.run(transitions.snooze(self.keys, self.holder, [Later(local, 0, 0)]))
        elif way == "release":
            self.run(transitions.release(self.keys, self.holder, [local]))
        elif way == "retry":
            self.fail(local, delay_ms=0)
        else:
            self.bury(local)
