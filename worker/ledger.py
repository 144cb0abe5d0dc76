"""What has to be told to Redis: finished jobs, gathered by queue until the next round trip, and kept until it
is sure that they arrived.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ferryman.errors import StoreError, StoreUnavailable
from ferryman.settlement import DONE, Batch, Dispatch
from ferryman.store.transitions import Acked
from ferryman.worker import board as boards
from ferryman.worker.board import Board
from ferryman.worker.clock import ServerClock
from ferryman.worker.durations import Durations
from ferryman.worker.feeds import Feed
from ferryman.worker.handover import Handover
from ferryman.worker.stock import Stock

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

GATHER_NS = 2_000_000
GATHER_MOST = 256
_AGAIN_NS = 1_000_000_000


class Ledger:
    """The outgoing side of an exchange."""

    def __init__(
        self,
        app: Ferryman,
        feeds: Mapping[str, Feed],
        stock: Stock,
        handover: Handover,
        board: Board,
        clock: ServerClock,
    ) -> None:
        self._app = app
        self._feeds = feeds
        self._stock = stock
        self._handover = handover
        self._board = board
        self._clock = clock
        self.durations = Durations()
        self.gathered = 0
        """Jobs that were done since the last round trip began."""
        self.gathered_ns = 0
        """When the first of them came."""
        self.again_ns = 0
        """When to say again what was refused with an error."""

    def collect(self, holder: str) -> None:
        """Gather what the slots have done since the last time."""
        take, feeds, stock = self._handover.done.popleft, self._feeds, self._stock
        count = coroutines = failed = ok = spent_ns = 0
        task: Any = None
        feed: Any = None
        while True:
            try:
                attempt, settled = take()
            except IndexError:
                break
            count += 1
            if attempt.task is not task or feed.name != attempt.queue:
                if ok:
                    self._count(feed, task.name, ok, spent_ns)
                    ok = spent_ns = 0
                task, feed = attempt.task, feeds[attempt.queue]
            if task.is_async:
                coroutines += 1
            if attempt.worker != holder:
                logger.warning(
                    "job %s ended here after its lease was lost: it runs elsewhere as well", attempt.job_id
                )
            elif settled is DONE:
                feed.batch.acks.append(attempt.local)
                ok += 1
                spent_ns += attempt.took_ns
            else:
                feed.batch.add(attempt, settled)
                if settled.counter == "failed":
                    failed += 1
            if attempt.suspect:
                stock.absolve(attempt)
        if ok:
            self._count(feed, task.name, ok, spent_ns)
        if count:
            self._tally(count, coroutines, failed)

    def _count(self, feed: Feed, task: str, ok: int, spent_ns: int) -> None:
        feed.batch.count(f"ok:{task}", ok)
        feed.batch.count(f"ms:{task}", spent_ns // 1_000_000)
        if feed.order == "shortest":
            self.durations.note(feed, task, spent_ns / ok / 1000)

    def _tally(self, count: int, coroutines: int, failed: int) -> None:
        now = time.monotonic_ns()
        self._stock.finished(count - coroutines, coroutines, now)
        if not self.gathered:
            self.gathered_ns = now
        self.gathered += count
        words = self._board.words
        words[boards.FAILED] += failed
        words[boards.DONE] += count

    def due(self, now: int) -> bool:
        """Whether to tell now, or to let more gather: at once if the slots have nothing left to do."""
        handover = self._handover
        if self.gathered:
            return (
                (not handover.ready and not handover.ready_async)
                or self.gathered >= GATHER_MOST
                or now - self.gathered_ns >= GATHER_NS
            )
        return self.has_batches() or (now >= self.again_ns and self.has_unsent())

    def has_batches(self) -> bool:
        """Whether there is anything to tell for the first time, and somebody to tell it to."""
        return any(feed.batch.waiting and not feed.away_ns for feed in self._feeds.values())

    def has_unsent(self) -> bool:
        """Whether there is anything to tell again, and somebody to tell it to."""
        return any(feed.unsent and not feed.away_ns for feed in self._feeds.values())

    @property
    def is_empty(self) -> bool:
        """Whether everything has been told."""
        return not any(feed.batch.waiting or feed.unsent for feed in self._feeds.values())

    def outgoing(self, holder: str, now: int) -> list[tuple[Feed, Dispatch]]:
        """Everything that is to be told, described as transitions."""
        found: list[tuple[Feed, Dispatch]] = []
        now_ms = self._clock.now_ms()
        for feed in self._feeds.values():
            if feed.away_ns:
                continue
            if feed.unsent and now >= self.again_ns:
                found += [(feed, dispatch) for dispatch in feed.unsent]
                feed.unsent = []
            if feed.batch.waiting:
                batch, feed.batch = feed.batch, Batch()
                settings = self._app.settings
                for dispatch in batch.dispatches(feed.keys, holder, settings, now_ms, lifo=feed.lifo):
                    feed.lanes.enter(dispatch.transition)
                    found.append((feed, dispatch))
        self.gathered = 0
        return found

    @staticmethod
    def put_back(outgoing: list[tuple[Feed, Dispatch]]) -> None:
        """The connection was lost on the way. What is numbered may be said twice, and must be said."""
        for feed, dispatch in outgoing:
            feed.unsent.append(dispatch)

    def told(self, feed: Feed, dispatch: Dispatch, reply: Any) -> None:
        """Redis has answered."""
        if isinstance(reply, StoreError):
            feed.unsent.append(
                dispatch
            )  # and keeps its lane: it may have been carried out, or not, or in part
            self.refused(feed, reply)
            return
        feed.lanes.leave(dispatch.transition)
        hand = feed.hand
        for local in dispatch.ids:
            hand.pop(local, None)
        refused = reply.refused if isinstance(reply, Acked) else reply
        if refused:
            logger.warning(
                "queue %s: %d jobs were not ours any more when they were done, they run elsewhere too: %s",
                feed.name, len(refused), ", ".join(local.decode() for local in refused[:5]),
            )  # fmt: skip

    def refused(self, feed: Feed, error: StoreError) -> None:
        """Redis answered one step with an error: it is tried again in a second, the others go on."""
        if isinstance(error, StoreUnavailable):
            return
        logger.error("queue %s: %s", feed.name, error)
        self.again_ns = time.monotonic_ns() + _AGAIN_NS
        feed.may_have_work = False
