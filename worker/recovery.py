"""Taking jobs back from a holder that is gone: a process that died, a machine that fell silent, a job that
had to be killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ferryman import envelope, failures
from ferryman.errors import FerrymanError, StoreError
from ferryman.execution import Attempt, prepare
from ferryman.interrupts import TimeLimit
from ferryman.outcome import AttemptRecord, Failed
from ferryman.settlement import Batch, settle
from ferryman.store import Link, transitions
from ferryman.store.keys import QueueKeys
from ferryman.store.transitions import Burial, Recovered
from ferryman.worker.board import Entry
from ferryman.worker.reports import tell

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")
_encode = msgspec.msgpack.Encoder().encode


class Recovery:
    """Recovers the jobs of lost holders, over one connection."""

    def __init__(self, app: Ferryman, link: Link) -> None:
        self._app = app
        self._link = link
        self._settled = 0

    def sweep(self, keys: QueueKeys, pause_s: float) -> int:
        """Look for holders whose lease has lapsed, unless somebody has just looked; how many jobs moved."""
        moved = 0
        for holder in self._link.run(transitions.sweep(keys, int(pause_s * 1000))):
            found = self.recover(keys, holder, forced=False, running=None)
            if found:
                logger.warning(
                    "queue %s: worker %s is lost (its lease has lapsed); %d of its jobs were taken back",
                    keys.queue,
                    holder,
                    found,
                )
            moved += found
        return moved

    def recover(self, keys: QueueKeys, holder: str, *, forced: bool, running: Sequence[str] | None) -> int:
        """Take everything back from a holder; how many jobs moved. Jobs charged with too many crashes are
        buried.

        Raises `StoreError`; to call it again is safe.
        """
        chosen, moved = self._app.settings, 0
        step = transitions.recover(
            keys, holder, forced=forced, limit=chosen.crash_limit,
            window_ms=int(chosen.crash_window_s * 1000), running=running,
            lifo=self._app.queue_order(keys.queue) == "lifo",
        )  # fmt: skip
        while True:
            found = self._link.run(step)
            if found.left < 0:
                return moved
            moved += len(found.moved)
            for local in found.cancelled:
                logger.info("job %s@%s was cancelled", local, keys.queue)
            if found.condemned:
                self._bury(keys, holder, found)
            if found.left == 0 or not (found.moved or found.condemned or found.cancelled):
                return moved

    def _bury(self, keys: QueueKeys, holder: str, found: Recovered) -> None:
        """Too many workers were lost under these jobs: they are dead."""
        chosen = self._app.settings
        burials = []
        for local, body, made in zip(found.condemned, found.envelopes, found.tries, strict=True):
            task = _task_in(body)
            report = failures.lost(task, holder, chosen.crash_limit)
            record = AttemptRecord(
                made + 1, "crashed", holder, 0, 0, report.error, report.traceback, report.fingerprint
            )
            burials.append(Burial(local, made, _encode(record), report.fingerprint, task))
            logger.error(
                "job %s@%s (%s) is dead: %d workers were lost while they ran it",
                local,
                keys.queue,
                task,
                chosen.crash_limit,
            )
        minute = self._server_ms() // 60_000
        self._link.run(
            transitions.bury(
                keys,
                holder,
                burials,
                minute=minute,
                most=chosen.dead_limit,
                oldest_ms=int(chosen.dead_ttl_s * 1000),
            )
        )

    def _server_ms(self) -> int:
        seconds, micros = self._link.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def settle_overdue(self, keys: QueueKeys, holder: str, entries: Sequence[Entry]) -> None:
        """Jobs whose process was killed because they ran past their limit: a timeout as any other."""
        overdue = {entry.local: entry for entry in entries}
        held = self._link.run(transitions.reconcile(keys, holder))
        batch, now_ms = Batch(), self._server_ms()
        for local, body, made in zip(held.ids, held.envelopes, held.tries, strict=True):
            entry = overdue.get(local)
            if entry is None or body is None:
                continue
            try:
                attempt = prepare(self._app, keys.queue, local, body, made=int(made or 0), worker=holder)
            except FerrymanError as error:
                logger.error("job %s@%s cannot be settled: %s", local.decode(), keys.queue, error)
                continue
            attempt.took_ns = time.monotonic_ns() - entry.started_ns
            outcome = Failed(_limit_of(attempt, self._app.settings.kill_after_s), "timeout")
            settled = settle(attempt, outcome, now_ms)
            tell(attempt, outcome, settled)
            batch.add(attempt, settled)
        for dispatch in batch.dispatches(keys, holder, self._app.settings, now_ms):
            # The holder's last request to fetch may be unread still. What it then holds again is not what
            # this call is about, should that be read later still.
            self._settled += 1
            transitions.number(dispatch.transition, "supervisor", self._settled)
            self._link.run(dispatch.transition)


def _limit_of(attempt: Attempt, kill_after_s: float) -> TimeLimit:
    limit_s = attempt.timeout_s or 0.0
    return TimeLimit(
        f"the attempt ran longer than its timeout of {limit_s:g} s and did not end when it was told to, "
        f"so its process was killed {kill_after_s:g} s later"
    )


def _task_in(body: bytes | None) -> str:
    try:
        return envelope.decode(body or b"").task
    except FerrymanError:
        return "unreadable"


__all__ = ["Recovery", "StoreError"]
