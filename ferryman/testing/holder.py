"""What a worker does with the store, one job at a time and when asked: take, settle, give back, be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ferryman import failures
from ferryman.execution import Attempt, prepare
from ferryman.outcome import AttemptRecord, Outcome
from ferryman.retry import without_jitter
from ferryman.settlement import Batch, Settlement, settle
from ferryman.store import inspection, transitions
from ferryman.store.transitions import BATCH, Burial, Fetched
from ferryman.testing.clock import PrivateStore

if TYPE_CHECKING:
    from ferryman.app import Ferryman

NAME = "ferryman-testing"
"""What jobs see as their worker."""
_LEASE_MS = 10 * 365 * 86_400_000  # no move of the clock makes it lapse
_encode = msgspec.msgpack.Encoder().encode


class Holder:
    """Holds the jobs that a test runs."""

    def __init__(self, app: Ferryman, store: PrivateStore) -> None:
        self._app = app
        self._store = store
        self._registered: set[str] = set()

    def take(self, queue: str) -> Attempt | None:
        """The next job of a queue, if one is due and the queue is not paused."""
        fetched = self._fetch(queue, 1)
        return self._attempt(queue, fetched, 0) if fetched.ids else None

    def take_this(self, queue: str, local: str) -> Attempt | None:
        """A certain job, ahead of those before it and of its time; None if it does not wait to be run."""
        keys = self._store.keys(queue)
        place = self._store.run(inspection.locate(keys, local)).place
        if place in ("delayed", "retries"):
            self._store.run(inspection.revive(keys, [local]))
        elif place not in ("ready", "ranked"):
            return None
        passed: list[bytes] = []
        found: Attempt | None = None
        size = 1  # it is the first, as a rule
        while found is None and (fetched := self._fetch(queue, size)).ids:
            size = BATCH
            for index, one in enumerate(fetched.ids):
                if one.decode() == local:
                    found = self._attempt(queue, fetched, index)
                else:
                    passed.append(one)
        self._give_back(queue, passed)
        return found

    def settle(self, attempt: Attempt, outcome: Outcome) -> Settlement:
        """Do with the job what its outcome asks for, as a worker does; waits are not left to chance."""
        now_ms = self._store.memory.now_ms()
        with without_jitter():
            settled = settle(attempt, outcome, now_ms)
        batch = Batch()
        batch.add(attempt, settled)
        keys = self._store.keys(attempt.queue)
        for dispatch in batch.dispatches(keys, NAME, self._app.settings, now_ms):
            self._store.run(dispatch.transition)
        return settled

    def give_back(self, attempt: Attempt) -> None:
        """Put the job back at the head of its line, uncharged."""
        self._give_back(attempt.queue, [attempt.local])

    def is_expired(self, attempt: Attempt) -> bool:
        """Whether the job's time was over before it was taken."""
        expires = (attempt.letter.options or {}).get("expires")
        return expires is not None and expires < self._store.memory.now_ms()

    def lose(self, attempt: Attempt) -> bool:
        """Let the worker be lost while it ran this job. Whether that killed the job, for it was once too
        often.
        """
        chosen, keys, local = self._app.settings, self._store.keys(attempt.queue), attempt.local.decode()
        recovered = self._store.run(
            transitions.recover(
                keys, NAME, forced=True, limit=chosen.crash_limit,
                window_ms=int(chosen.crash_window_s * 1000), running=[local],
                lifo=self._is_lifo(attempt.queue),
            )
        )  # fmt: skip
        if local in recovered.condemned:
            self._bury(attempt)
        self._registered.discard(attempt.queue)
        return local in recovered.condemned

    def _bury(self, attempt: Attempt) -> None:
        now_ms, chosen = self._store.memory.now_ms(), self._app.settings
        report = failures.lost(attempt.task.name, NAME, chosen.crash_limit)
        record = AttemptRecord(attempt.made + 1, "crashed", NAME, 0, 0, *report)
        burial = Burial(
            attempt.local.decode(), attempt.made, _encode(record), report.fingerprint, attempt.task.name
        )
        self._store.run(
            transitions.bury(
                self._store.keys(attempt.queue), NAME, [burial], minute=now_ms // 60_000,
                most=chosen.dead_limit, oldest_ms=int(chosen.dead_ttl_s * 1000),
            )
        )  # fmt: skip

    def _fetch(self, queue: str, limit: int) -> Fetched:
        keys = self._store.keys(queue)
        if queue not in self._registered:
            self._store.run(transitions.register(keys, NAME, _LEASE_MS))
            self._registered.add(queue)
        return self._store.run(transitions.fetch(keys, NAME, limit, lifo=self._is_lifo(queue)))

    def _attempt(self, queue: str, fetched: Fetched, index: int) -> Attempt:
        local = fetched.ids[index]
        made = int(fetched.tries[index] or 0) if fetched.tries else 0
        try:
            return prepare(self._app, queue, local, fetched.envelopes[index], made=made, worker=NAME)
        except BaseException:
            self._give_back(queue, fetched.ids)
            raise

    def _give_back(self, queue: str, locals_: list[bytes]) -> None:
        keys, lifo = self._store.keys(queue), self._is_lifo(queue)
        # The last batch goes first: each is put before what is in the line.
        for batch in reversed(list(transitions.batches(locals_))):
            self._store.run(transitions.release(keys, NAME, batch, lifo=lifo))

    def _is_lifo(self, queue: str) -> bool:
        return self._app.queue_order(queue) == "lifo"
