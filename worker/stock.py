"""What this process has in hand: jobs that were fetched and are not done. Where they go, and when they go
back.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ferryman import envelope
from ferryman.execution import Attempt
from ferryman.settlement import RELEASED
from ferryman.store import Link, transitions
from ferryman.store.transitions import BATCH
from ferryman.worker.admission import Admission
from ferryman.worker.clock import ServerClock
from ferryman.worker.feeds import Feed
from ferryman.worker.handover import Handover
from ferryman.worker.newer import Newer
from ferryman.worker.prefetch import STALE_NS, Prefetch
from ferryman.worker.tenure import Tenure

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")


class Stock:
    """The incoming side of an exchange."""

    def __init__(
        self,
        app: Ferryman,
        feeds: Mapping[str, Feed],
        tenure: Tenure,
        handover: Handover,
        clock: ServerClock,
        newer: Newer,
        threads: int,
        concurrency: int,
    ) -> None:
        self._feeds = feeds
        self._tenure = tenure
        self._handover = handover
        self._admission = Admission(app, clock, newer, runs_sync=threads > 0, runs_async=concurrency > 0)
        self._threads = Prefetch(threads)
        self._coroutines = Prefetch(concurrency)
        self._lines = ((handover.ready, self._threads), (handover.ready_async, self._coroutines))

    @property
    def in_hand(self) -> int:
        """How many jobs wait or run here."""
        return self._threads.in_hand + self._coroutines.in_hand

    def room(self) -> tuple[int, int]:
        """For how many more jobs there is room, on threads and on the loop."""
        return self._threads.room(), self._coroutines.room()

    def finished(self, threads: int, coroutines: int, now: int) -> None:
        """So many jobs are done."""
        if threads:
            self._threads.finished(threads, now)
        if coroutines:
            self._coroutines.finished(coroutines, now)

    def absolve(self, suspect: Attempt) -> None:
        """A suspect has ended without harm: the next may run."""
        if self._admission.suspect is suspect:
            self._admission.suspect = None

    def distribute(
        self,
        link: Link,
        feed: Feed,
        ids: Sequence[bytes],
        envelopes: Sequence[bytes | None],
        tries: Sequence[bytes | None],
        crashes: Sequence[bytes | None],
    ) -> None:
        """Hand what was fetched to the slots. Suspects are announced before."""
        holder = self._tenure.holder
        threads, coroutines = self._admission.admit(feed, holder, ids, envelopes, tries, crashes)
        if crashes:
            suspects = [attempt.local for attempt in (*threads, *coroutines) if attempt.suspect]
            if suspects:
                try:
                    link.run(transitions.announce(feed.keys, holder, suspects))
                except BaseException:
                    self._forget(feed, [*threads, *coroutines])
                    raise
        now = time.monotonic_ns()
        if threads:
            self._threads.begun(len(threads), now)
            self._handover.offer(threads)
        if coroutines:
            self._coroutines.begun(len(coroutines), now)
            self._handover.offer_async(coroutines)

    def _forget(self, feed: Feed, attempts: Sequence[Attempt]) -> None:
        """As if they had never come: held and not in hand, they are found by the next `reconcile`."""
        for attempt in attempts:
            feed.hand.pop(attempt.local, None)
            self.absolve(attempt)

    def give_back(self, attempts: Sequence[Attempt]) -> None:
        """Release jobs that have not begun."""
        for attempt in attempts:
            self._lines[attempt.task.is_async][1].in_hand -= 1
            self._feeds[attempt.queue].batch.add(attempt, RELEASED)
            self.absolve(attempt)

    def give_back_all(self) -> None:
        """Release every job that has not begun."""
        self.give_back(self._handover.take_back())

    def give_back_stale(self, now: int) -> None:
        """Jobs that were fetched ahead and wait behind long ones go back, for others to take."""
        for line, prefetch in self._lines:
            try:
                waits_ns = now - line[0].fetched_ns
            except IndexError:
                continue
            if waits_ns >= STALE_NS:
                prefetch.stuck()
                stale = _emptied(line)
                for attempt in stale:
                    self._feeds[attempt.queue].may_have_work = True
                self.give_back(stale)

    def reconcile(self, link: Link, feed: Feed) -> None:
        """Make what is in hand of a queue equal to what Redis says is held."""
        found, gone = self._tenure.compare(link, feed)
        if gone:
            logger.warning(
                "queue %s: %d jobs are not ours any more, they run elsewhere", feed.name, len(gone)
            )
            self._take_out([feed.hand.pop(local) for local in gone])
        if found.ids:
            logger.info("queue %s: %d jobs of a reply that was lost are taken up", feed.name, len(found.ids))
            self.distribute(link, feed, found.ids, found.envelopes, found.tries, found.crashes)

    def summon(self, link: Link, feed: Feed) -> bool:
        """Take what older workers have left to newer ones such as this. Whether there may be more of it."""
        limit = feed.limit(*self.room())
        if limit <= 0:
            return False
        step = transitions.summon(feed.keys, self._tenure.holder, envelope.VERSION, min(limit, BATCH))
        found = link.run(step)
        if found.ids:
            self.distribute(link, feed, found.ids, found.envelopes, found.tries, found.crashes)
        return bool(found.more)

    def _take_out(self, lost: Sequence[Attempt]) -> None:
        """Drop those of these attempts that have not begun."""
        for attempt in lost:
            line, prefetch = self._lines[attempt.task.is_async]
            try:
                line.remove(attempt)
            except ValueError:
                continue
            prefetch.in_hand -= 1
            self.absolve(attempt)

    def forfeit(self) -> None:
        """The lease is lost: drop what has not begun."""
        for attempt in self._handover.take_back():
            self._lines[attempt.task.is_async][1].in_hand -= 1
        self._admission.suspect = None
        self._tenure.forfeit()


def _emptied(line: deque[Any]) -> list[Attempt]:
    found: list[Attempt] = []
    while True:
        try:
            found.append(line.popleft())
        except IndexError:
            return found
