"""What was fetched becomes attempts, for the threads or for the loop. What cannot run is settled here."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ferryman import envelope
from ferryman.envelope import NO_KWARGS, VERSION, Envelope
from ferryman.errors import UnknownTask, UnsupportedVersion
from ferryman.execution import Attempt
from ferryman.outcome import Ended, Failed
from ferryman.settlement import Settlement, settle
from ferryman.store.transitions import Later
from ferryman.worker.clock import ServerClock
from ferryman.worker.feeds import Feed
from ferryman.worker.newer import Newer

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

OTHERS_MS = 1_000
"""How long a job is put off that only another worker can run."""
SUSPECT_MS = 2_000
"""How long a job that is one crash from death is put off while another such runs here."""
_UNKNOWN_S = (5, 10, 20, 40, 60)


class Admission:
    """Decides for each job that was fetched whether, where and when it runs."""

    def __init__(
        self, app: Ferryman, clock: ServerClock, newer: Newer, *, runs_sync: bool, runs_async: bool
    ) -> None:
        self._app = app
        self._newer = newer
        self._runs_sync = runs_sync
        self._runs_async = runs_async
        self._clock = clock
        self._reported: set[str] = set()
        self.suspect: Attempt | None = None
        """The one job that runs now although the next crash condemns it. Of two, both would be blamed when
        the process dies, and the innocent one would be buried with the other.
        """

    def admit(
        self,
        feed: Feed,
        holder: str,
        ids: Sequence[bytes],
        envelopes: Sequence[bytes | None],
        tries: Sequence[bytes | None],
        crashes: Sequence[bytes | None],
    ) -> tuple[list[Attempt], list[Attempt]]:
        """The attempts for the threads and those for the loop. All that is held stands in the feed's hand
        afterwards; what cannot run is already settled in its batch.
        """
        app, tasks, decode, hand, queue = self._app, self._app.tasks, envelope.decode, feed.hand, feed.name
        threads: list[Attempt] = []
        coroutines: list[Attempt] = []
        now_ns, now_ms = time.monotonic_ns(), self._clock.now_ms()
        for index, local in enumerate(ids):
            made = int(tries[index] or 0) if tries else 0
            body = envelopes[index]
            try:
                letter = decode(body)  # type: ignore[arg-type]  # None is no envelope either
                task = tasks.get(letter.task)
                if task is None:
                    self._put_off(feed, holder, local, made, letter)
                    continue
                attempt = Attempt(app, task, letter, local, queue, made, holder, now_ns)
                if letter.options is not None and letter.options.get("expires", now_ms) < now_ms:
                    hand[local] = attempt
                    feed.batch.add(attempt, settle(attempt, Ended("expired"), now_ms))
                    continue
            except Exception as error:  # noqa: BLE001 (whatever bytes a job is, its neighbours go on)
                self._refuse(feed, holder, local, made, error)
                continue
            hand[local] = attempt
            if crashes and (crash := crashes[index]) is not None and not self._may_run(feed, attempt, crash):
                continue
            (coroutines if task.is_async else threads).append(attempt)
        if ids and self._runs_sync and self._runs_async:
            feed.learn_kinds(len(ids), len(coroutines))
        if threads and not self._runs_sync:
            threads = self._cannot_run(feed, threads, "has no threads, and sync tasks need them")
        if coroutines and not self._runs_async:
            coroutines = self._cannot_run(feed, coroutines, "has no event loop (concurrency is 0)")
        return threads, coroutines

    def _cannot_run(self, feed: Feed, attempts: Sequence[Attempt], why: str) -> list[Attempt]:
        """Put off jobs of a kind that this worker has no slots for; none of them is left."""
        self._report_once(why, "queue %s: this worker %s; it leaves such jobs to others", feed.name, why)
        feed.unfit = True
        for attempt in attempts:
            later = Later(attempt.local.decode(), OTHERS_MS, 0)
            feed.batch.add(attempt, Settlement("snooze", later, counter=""))
            if self.suspect is attempt:
                self.suspect = None
        return []

    def _may_run(self, feed: Feed, attempt: Attempt, crash: bytes) -> bool:
        """Whether a suspect runs now. Nearly all may: when a machine is lost, everything that it held is
        suspect, and must not queue for one slot. Only a job that the next crash condemns runs without a
        second one of its kind beside it.
        """
        attempt.suspect = True
        if int(crash.partition(b":")[0]) + 1 < self._app.settings.crash_limit:
            return True
        if self.suspect is None:
            self.suspect = attempt
            return True
        later = Later(attempt.local.decode(), SUSPECT_MS, 0)
        feed.batch.add(attempt, Settlement("snooze", later, counter=""))
        return False

    # -- what cannot run -------------------------------------------------------------------------------------

    def _put_off(self, feed: Feed, holder: str, local: bytes, made: int, letter: Envelope) -> None:
        attempt = self._stand_in(feed, holder, local, made, letter)
        feed.batch.add(attempt, self._unknown(attempt, letter.task))
        feed.hand[local] = attempt

    def _refuse(self, feed: Feed, holder: str, local: bytes, made: int, error: Exception) -> None:
        attempt = self._stand_in(feed, holder, local, made, None)
        feed.batch.add(attempt, self._unreadable(attempt, error))
        feed.hand[local] = attempt

    def _stand_in(self, feed: Feed, holder: str, local: bytes, made: int, letter: Envelope | None) -> Attempt:
        """An attempt that will never run, so that what becomes of its job is decided where it always is."""
        nothing: Any = NO_KWARGS
        letter = letter or Envelope(VERSION, "unreadable", nothing, nothing, 0)
        return Attempt(self._app, self._app.task_for(letter.task), letter, local, feed.name, made, holder)

    def _unknown(self, attempt: Attempt, name: str) -> Settlement:
        limit = self._app.settings.unknown_task_limit
        error = UnknownTask(
            f"this worker knows no task {name!r}: is its module imported here, "
            "or is the worker older than the producer?"
        )
        self._report_once(
            name, "job %s: %s; such jobs are put off, and dead after %d tries", attempt.job_id, error, limit
        )
        settled = settle(attempt, Failed(error, "rejected"), self._clock.now_ms())
        if attempt.made >= limit:
            return settled
        delay_s = _UNKNOWN_S[min(attempt.made, len(_UNKNOWN_S) - 1)]
        return Settlement(
            "retry",
            Later(settled.item.local, delay_s * 1000, attempt.made + 1, settled.item.record),
            counter="",
        )

    def _unreadable(self, attempt: Attempt, error: Exception) -> Settlement:
        if isinstance(error, UnsupportedVersion):
            deferral = self._newer.defer(attempt.queue, attempt.local, error.version)
            return Settlement("defer", deferral, counter="")
        logger.error("job %s cannot be read and is dead: %s", attempt.job_id, error)
        return settle(attempt, Failed(error, "rejected"), self._clock.now_ms())

    def _report_once(self, what: str, message: str, *args: object) -> None:
        if what not in self._reported:
            self._reported.add(what)
            logger.warning(message, *args)
