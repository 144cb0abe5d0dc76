"""The one thread of a process that speaks to Redis: what is done goes out, and what is next comes in, in one
round trip.

While a round trip is under way, finished jobs gather for the next, so batches grow with the load and cost no
waiting: an idle worker acknowledges a job at once, a busy one hundreds together. Nothing here polls: the
thread sleeps until a bell rings, a job is done, or a moment comes that it knows of."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ferryman import chance
from ferryman.errors import StoreError, StoreUnavailable
from ferryman.settlement import Dispatch
from ferryman.store import transitions
from ferryman.store.transitions import BATCH, Fetched
from ferryman.worker import board as boards
from ferryman.worker import feeds as sharing
from ferryman.worker.bells import Bells, Ear
from ferryman.worker.board import Board
from ferryman.worker.clock import ServerClock
from ferryman.worker.feeds import Feed
from ferryman.worker.handover import Handover
from ferryman.worker.ledger import GATHER_NS, Ledger
from ferryman.worker.newer import Calls, Newer
from ferryman.worker.prefetch import STALE_NS
from ferryman.worker.stock import Stock
from ferryman.worker.tenure import Tenure

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

LOOK_S = 5.0
"""Each queue is looked into this often, even if no bell rings."""
_LONGEST_PAUSE_S = 2.0
_LAST_TRIES = 5


class Exchange:
    """Keeps the slots in work and Redis informed."""

    def __init__(
        self,
        app: Ferryman,
        feeds: Sequence[Feed],
        tenure: Tenure,
        handover: Handover,
        board: Board,
        *,
        threads: int,
        concurrency: int,
        clock: ServerClock,
        weighted: bool = False,
        burst: bool = False,
        max_jobs: int = 0,
    ) -> None:
        by_name = {feed.name: feed for feed in feeds}
        self._feeds = feeds
        self._tenure = tenure
        self._handover = handover
        self._board = board
        self._clock = clock
        self._share = sharing.weighted if weighted else sharing.strict
        self._burst = burst
        self._max_jobs = max_jobs
        self._stock = Stock(app, by_name, tenure, handover, clock, Newer(board), threads, concurrency)
        self._calls = Calls()
        self._ledger = Ledger(app, by_name, self._stock, handover, board, clock)
        self._link = app.store.link()
        self._bells = Bells(app.store)
        self._look_ns = 0
        self._has_parts = app.store.is_cluster
        self._failures = 0
        self._quiet = False
        self._draining = False
        self._abandoned = False
        self.on_enough: Callable[[], None] = lambda: None
        """Called once when `max_jobs` are done: the process should be replaced."""

    # -- what others ask of it -----------------------------------------------------------------------------

    def quiet(self, quiet: bool) -> None:
        """Fetch nothing more, or fetch again."""
        self._quiet = quiet
        self._handover.nudge()

    def drain(self) -> None:
        """Fetch nothing more, give back what has not begun, and end when everything that runs is done."""
        self._draining = True
        self._handover.nudge()

    def abandon(self) -> None:
        """End now: give back also what still runs."""
        self._draining = self._abandoned = True
        self._handover.nudge()

    def run(self) -> None:
        """Exchange until drained."""
        while True:
            try:
                if not self._tenure.holder:
                    self._tenure.begin(self._link)
                if self._turn():
                    self._tenure.end(self._link)
                    break
                self._failures = 0
            except StoreError as error:
                if not self._pause(error):
                    break
            except Exception:
                logger.exception("the exchange with Redis met an error of its own, and starts afresh")
                if not self._pause(None):
                    break
        self._link.close()
        self._bells.close()

    def _pause(self, error: StoreError | None) -> bool:
        """Drop both connections and wait a little before the next try. False if there is to be none."""
        self._link.close()
        self._bells.close()
        self._ledger.again_ns = 0
        for feed in self._feeds:
            feed.doubt = feed.may_have_work = True
            feed.away_ns = 0
        self._failures += 1
        empty_handed = self._draining and not self._stock.in_hand and self._failures > _LAST_TRIES
        if self._abandoned or empty_handed:
            logger.error("Redis cannot be reached at the end; what is held here runs when the lease lapses")
            return False
        pause_s = chance.between(0.5, 1.0) * min(0.05 * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
        if error is not None and (self._failures in {1, 5} or self._failures % 30 == 0):
            logger.warning("%s; next try in %.1f s", error, pause_s)
        time.sleep(pause_s)
        return True

    # -- one turn ------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Tell what is done and fetch what there is room for, or sleep. Whether all is over."""
        self._ledger.collect(self._tenure.holder)
        now = time.monotonic_ns()
        for feed in self._feeds:
            if 0 < feed.away_ns <= now:
                feed.away_ns, feed.may_have_work = 0, True
            if feed.doubt and not feed.unsent and not feed.away_ns:
                self._reconcile(feed)
        self._look_at_ends()
        if self._calls.due(now):
            self._summon(now)
        due = self._ledger.due(now)
        plan = self._plan(now, due)
        outgoing = self._ledger.outgoing(self._tenure.holder, now) if due or plan else []
        if outgoing or plan:
            self._trip(outgoing, plan)
            return False
        if self._is_over():
            return True
        self._sleep(now)
        return False

    def _reconcile(self, feed: Feed) -> None:
        feed.doubt = False
        try:
            self._stock.reconcile(self._link, feed)
        except StoreUnavailable as error:
            feed.doubt = True
            self._leave_alone(feed, error)
        except BaseException:
            feed.doubt = True
            raise

    def _leave_alone(self, feed: Feed, error: StoreUnavailable) -> None:
        """The server of this queue is away. On a cluster the others go on; what else is lost has its cause in
        the one server there is.
        """
        if not self._has_parts:
            raise error
        feed.misses += 1
        if feed.misses in {1, 10} or feed.misses % 100 == 0:
            logger.warning("queue %s: %s; the other queues go on", feed.name, error)
        feed.away_ns = time.monotonic_ns() + int(chance.between(0.1, 0.3) * 1e9)
        feed.doubt, feed.may_have_work, feed.due_ns = True, False, 0

    def _summon(self, now: int) -> None:
        """Take what older workers have left to newer ones. Seldom, so it has a round trip of its own."""
        more = False
        if not (self._draining or self._quiet):
            for feed in self._feeds:
                more = (not feed.away_ns and self._summon_from(feed)) or more
        self._calls.asked(now, more=more)

    def _summon_from(self, feed: Feed) -> bool:
        doubted, feed.doubt = feed.doubt, True  # until all that came is in hand
        try:
            more = self._stock.summon(self._link, feed)
        except StoreUnavailable as error:
            self._leave_alone(feed, error)
            return False
        feed.doubt = doubted
        return more

    def _look_at_ends(self) -> None:
        if 0 < self._max_jobs <= self._board.words[boards.DONE] and not self._draining:
            self._draining = True
            self.on_enough()
        if self._draining or self._quiet:
            self._stock.give_back_all()

    def _is_over(self) -> bool:
        if self._abandoned:
            return True
        if self._stock.in_hand or self._handover.done or not self._ledger.is_empty:
            return False
        return self._draining or (self._burst and not any(feed.may_have_work for feed in self._feeds))

    def _plan(self, now: int, due: bool) -> list[tuple[Feed, int]]:
        """From which queues to fetch now, and how much."""
        handover = self._handover
        if now >= self._look_ns:
            self._look_ns = now + int(chance.between(0.8, 1.2) * LOOK_S * 1e9)
            for feed in self._feeds:
                feed.may_have_work = feed.pass_on = True
        plan: list[tuple[Feed, int]] = []
        fetching = not (self._draining or self._quiet)
        if fetching and (due or not handover.ready or not handover.ready_async):
            open_feeds = [
                feed
                for feed in self._feeds
                if not feed.away_ns and not (feed.unfit and 0 < feed.due_ns <= now)
            ]
            plan = self._share(open_feeds, *self._stock.room())
        planned = [feed for feed, _ in plan]
        for feed in self._feeds:
            if feed.away_ns or feed in planned:
                continue
            if feed.pass_on or (feed.due_ns and now >= feed.due_ns):
                plan.append((feed, 0))  # promotes what is due, and rings for others
        return plan

    def _trip(self, outgoing: list[tuple[Feed, Dispatch]], plan: list[tuple[Feed, int]]) -> None:
        """One round trip: acknowledgements first, then fetches."""
        holder = self._tenure.holder
        steps: list[Any] = [dispatch.transition for _, dispatch in outgoing]
        for feed, limit in plan:
            feed.pass_on = False
            steps.append(transitions.fetch(feed.keys, holder, min(limit, BATCH), lifo=feed.lifo))
        asked = time.monotonic_ns()
        try:
            replies = self._link.pipeline(steps)
        except BaseException:
            self._ledger.put_back(outgoing)
            raise
        for (feed, dispatch), reply in zip(outgoing, replies, strict=False):
            self._ledger.told(feed, dispatch, reply)
        fetched = list(zip([feed for feed, _ in plan], replies[len(outgoing) :], strict=True))
        if any(isinstance(reply, Fetched) and reply.state == b"lost" for _, reply in fetched):
            self._stock.forfeit()
            return
        asked_of = [feed for feed, _ in outgoing] + [feed for feed, _ in plan]
        for feed, reply in zip(asked_of, replies, strict=True):
            if isinstance(reply, StoreUnavailable):  # loading, failing over
                self._leave_alone(feed, reply)
        limits = dict(plan)
        for feed, reply in fetched:
            if isinstance(reply, StoreError):
                self._ledger.refused(feed, reply)
                continue
            feed.misses = 0
            doubted, feed.doubt = feed.doubt, True  # until all that came is in hand
            self._take(feed, reply, asked)
            feed.doubt = doubted or len(feed.hand) != reply.held
            if feed.unfit and not limits[feed]:
                feed.may_have_work = False  # the bell has been rung, for us as for others
        self._board.words[boards.PROGRESS] = time.monotonic_ns()
        for step in self._ledger.durations.steps(asked):
            self._link.run(step)

    def _take(self, feed: Feed, fetched: Fetched, asked: int) -> None:
        self._clock.learn(fetched.now_ms, asked)
        feed.may_have_work = bool(fetched.more)
        feed.due_ns = time.monotonic_ns() + fetched.due_in_ms * 1_000_000 + 1 if fetched.due_in_ms >= 0 else 0
        if fetched.missing:
            logger.error(
                "queue %s: the envelopes of %d jobs were deleted from outside, they cannot run: %s",
                feed.name, len(fetched.missing), ", ".join(local.decode() for local in fetched.missing[:20]),
            )  # fmt: skip
        if fetched.ids:
            self._stock.distribute(
                self._link, feed, fetched.ids, fetched.envelopes, fetched.tries, fetched.crashes
            )

    # -- sleeping ------------------------------------------------------------------------------------------

    def _sleep(self, now: int) -> None:
        """Wait for a bell, a finished job, or the next moment that matters."""
        handover, ledger = self._handover, self._ledger
        self._stock.give_back_stale(now)
        if not self._listen():
            return
        if ledger.gathered:
            handover.gathering = True
            awake = not handover.ready and not handover.ready_async
        else:
            handover.listening = True
            awake = bool(handover.done) or ledger.has_batches()
        if not awake:
            self._wait(self._wake_ns(now))
        handover.listening = handover.gathering = False
        for ear in self._bells.overdue():
            self._deaf(ear, StoreUnavailable("Redis has fallen silent: a connection to it is dead"))

    def _wake_ns(self, now: int) -> int:
        """The next moment that matters."""
        moments = [self._look_ns, self._calls.at_ns]
        moments += [feed.due_ns for feed in self._feeds if feed.due_ns]
        moments += [feed.away_ns for feed in self._feeds if feed.away_ns]
        if self._handover.ready or self._handover.ready_async:
            moments.append(now + STALE_NS // 2)
        if self._ledger.gathered:
            moments.append(self._ledger.gathered_ns + GATHER_NS)
        if self._ledger.has_unsent():
            moments.append(self._ledger.again_ns)
        return min(moments)

    def _wait(self, until_ns: int) -> None:
        poll = select.poll()
        poll.register(self._handover.wake_fd, select.POLLIN)
        ears = self._bells.sockets()
        for fd in ears:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(max(0.0, (until_ns - time.monotonic_ns()) / 1e6)):
            if fd == self._handover.wake_fd:
                self._handover.heard()
            else:
                self._hear(ears[fd])

    def _listen(self) -> bool:
        """Block on the bells of the queues from which there is room to fetch. False: look again first."""
        if self._draining or self._quiet:
            return True
        room = self._stock.room()
        open_feeds = [feed for feed in self._feeds if not feed.away_ns and feed.limit(*room) > 0]
        if not open_feeds or any(feed.may_have_work for feed in open_feeds):
            return True  # what is known to be there is fetched with the next round trip
        return self._bells.listen(open_feeds, self._link)

    def _hear(self, ear: Ear) -> None:
        try:
            feed = ear.hear()
        except StoreUnavailable as error:
            self._deaf(ear, error)
            return
        if feed is not None:
            feed.may_have_work = True
            feed.pass_on = True  # if there is no room by now, the token goes on to somebody else

    def _deaf(self, ear: Ear, error: StoreUnavailable) -> None:
        """A connection to bells is lost; on a cluster, that of one queue."""
        feeds = list(ear.armed.values())
        ear.close()
        for feed in feeds:
            self._leave_alone(feed, error)
