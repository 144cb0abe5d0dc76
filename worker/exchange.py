"""The one thread of a process that speaks to Redis: what is done goes out, and what is next comes in, in one round trip.

While a round trip is under way, finished jobs gather for the next, so batches grow with the load and cost no waiting:
an idle worker acknowledges a job at once, a busy one hundreds together. Nothing here polls: the thread sleeps
until a bell rings, a job is done, or a moment comes that it knows of.
"""

from __future__ import annotations

import logging
import random
import select
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ferryman.errors import StoreError, StoreUnavailable
from ferryman.settlement import DONE, RELEASED, Batch, Dispatch
from ferryman.store import Link, transitions
from ferryman.store.transitions import BATCH, Acked, Fetched
from ferryman.worker import board as boards
from ferryman.worker import feeds as sharing
from ferryman.worker.admission import Admission
from ferryman.worker.bells import Bells
from ferryman.worker.board import Board
from ferryman.worker.clock import ServerClock
from ferryman.worker.durations import Durations
from ferryman.worker.feeds import Feed
from ferryman.worker.handover import Handover
from ferryman.worker.prefetch import STALE_NS, Prefetch
from ferryman.worker.tenure import Tenure

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

GATHER_NS = 2_000_000
GATHER_MOST = 256
LOOK_S = 5.0
"""Each queue is looked into this often, even if no bell rings."""
_AGAIN_NS = 1_000_000_000
_LONGEST_PAUSE_S = 2.0


class Exchange:
    """Keeps the slots in work and Redis informed."""

    def __init__(
        self,
        app: Ferryman,
        feeds: Sequence[Feed],
        tenure: Tenure,
        handover: Handover,
        board: Board,
        clock: ServerClock,
        threads: Prefetch,
        coroutines: Prefetch,
        *,
        weighted: bool = False,
        burst: bool = False,
        max_jobs: int = 0,
    ) -> None:
        self._app = app
        self._feeds = feeds
        self._by_name = {feed.name: feed for feed in feeds}
        self._tenure = tenure
        self._handover = handover
        self._board = board
        self._clock = clock
        self._threads = threads
        self._coroutines = coroutines
        self._share: Callable[..., list[tuple[Feed, int]]] = sharing.weighted if weighted else sharing.strict
        self._burst = burst
        self._max_jobs = max_jobs
        self._admission = Admission(app, clock)
        self._durations = Durations()
        self._link = Link(app.store.address, app.store.timeout_s)
        self._bells = Bells(app.store.address, app.store.timeout_s)
        self._gathered = 0
        self._gathered_ns = 0
        self._look_ns = 0
        self._again_ns = 0
        self._doubt = False
        self._failures = 0
        self._quiet = False
        self._draining = False
        self._abandoned = False
        self.on_enough: Callable[[], None] = lambda: None
        """Called once when `max_jobs` are done: the process should be replaced."""

    # -- what others ask of it -----------------------------------------------------------------------------------

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
        self._doubt = True
        for feed in self._feeds:
            feed.may_have_work = True
        self._again_ns = 0
        self._failures += 1
        if self._abandoned or (self._draining and self._failures > 5):
            logger.error(
                "Redis cannot be reached at the end; the jobs in hand run elsewhere when the lease lapses"
            )
            return False
        pause_s = random.uniform(0.5, 1.0) * min(0.05 * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
        if error is not None and (self._failures in {1, 5} or self._failures % 30 == 0):
            logger.warning("%s; next try in %.1f s", error, pause_s)
        time.sleep(pause_s)
        return True

    # -- one turn ------------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Tell what is done and fetch what there is room for, or sleep. Whether all is over."""
        self._collect()
        now = time.monotonic_ns()
        if self._doubt and not any(feed.unsent for feed in self._feeds):
            self._reconcile()
        if self._draining or self._quiet:
            self._give_back(self._handover.take_back())
        due = self._flush_due(now)
        plan = self._plan(now, due)
        outgoing = self._outgoing(now) if due or plan else []
        if outgoing or plan:
            self._trip(outgoing, plan)
            return False
        if self._is_over():
            return True
        self._sleep(now)
        return False

    def _collect(self) -> None:
        """Gather what the slots have done since the last time."""
        take = self._handover.done.popleft
        holder, by_name = self._tenure.holder, self._by_name
        count = coroutines = failed = 0
        task = feed = None
        ok = spent_ns = 0
        while True:
            try:
                attempt, settled = take()
            except IndexError:
                break
            count += 1
            if attempt.task is not task or feed is None or feed.name != attempt.queue:
                if ok:
                    self._count(feed, task, ok, spent_ns)
                    ok = spent_ns = 0
                task, feed = attempt.task, by_name[attempt.queue]
            coroutines += task.is_async
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
                failed += settled.counter == "failed"
            if attempt.suspect and self._admission.suspect is attempt:
                self._admission.suspect = None
        if ok:
            self._count(feed, task, ok, spent_ns)
        if count:
            self._tally(count, coroutines, failed)

    def _count(self, feed: Any, task: Any, ok: int, spent_ns: int) -> None:
        feed.batch.count(f"ok:{task.name}", ok)
        feed.batch.count(f"ms:{task.name}", spent_ns // 1_000_000)
        if feed.order == "shortest":
            self._durations.note(feed, task.name, spent_ns / ok / 1000)

    def _tally(self, count: int, coroutines: int, failed: int) -> None:
        now = time.monotonic_ns()
        if count > coroutines:
            self._threads.finished(count - coroutines, now)
        if coroutines:
            self._coroutines.finished(coroutines, now)
        if not self._gathered:
            self._gathered_ns = now
        self._gathered += count
        words = self._board.words
        words[boards.FAILED] += failed
        words[boards.DONE] += count
        if 0 < self._max_jobs <= words[boards.DONE] and not self._draining:
            self._draining = True
            self.on_enough()

    def _flush_due(self, now: int) -> bool:
        """Whether what has gathered should go out now."""
        handover = self._handover
        if self._gathered:
            return not handover.ready or self._gathered >= GATHER_MOST or now - self._gathered_ns >= GATHER_NS
        return any(feed.batch.waiting for feed in self._feeds) or (
            now >= self._again_ns and any(feed.unsent for feed in self._feeds)
        )

    def _plan(self, now: int, flush_due: bool) -> list[tuple[Feed, int]]:
        """From which queues to fetch now, and how much."""
        if now >= self._look_ns:
            self._look_ns = now + int(random.uniform(0.8, 1.2) * LOOK_S * 1e9)
            for feed in self._feeds:
                feed.may_have_work = feed.pass_on = True
        plan: list[tuple[Feed, int]] = []
        if not (self._draining or self._quiet) and (flush_due or not self._handover.ready):
            plan = self._share(self._feeds, self._threads.room(), self._coroutines.room())
        planned = [feed for feed, _ in plan]
        for feed in self._feeds:
            if (feed.pass_on or (feed.due_ns and now >= feed.due_ns)) and feed not in planned:
                plan.append((feed, 0))
        return plan

    def _outgoing(self, now: int) -> list[tuple[Feed, Dispatch]]:
        """Everything that is to be told, described as transitions."""
        found: list[tuple[Feed, Dispatch]] = []
        settings, holder, now_ms = self._app.settings, self._tenure.holder, self._clock.now_ms()
        for feed in self._feeds:
            if feed.unsent and now >= self._again_ns:
                found += [(feed, dispatch) for dispatch in feed.unsent]
                feed.unsent = []
            if feed.batch.waiting:
                batch, feed.batch = feed.batch, Batch()
                found += [
                    (feed, dispatch) for dispatch in batch.dispatches(feed.keys, holder, settings, now_ms)
                ]
        self._gathered = 0
        return found

    def _trip(self, outgoing: list[tuple[Feed, Dispatch]], plan: list[tuple[Feed, int]]) -> None:
        """One round trip: acknowledgements first, then fetches."""
        holder = self._tenure.holder
        steps = [dispatch.transition for _, dispatch in outgoing]
        for feed, limit in plan:
            feed.pass_on = False
            steps.append(transitions.fetch(feed.keys, holder, min(limit, BATCH), lifo=feed.lifo))
        asked = time.monotonic_ns()
        try:
            replies: list[Any] = self._link.pipeline(steps)
        except StoreError:
            for feed, dispatch in outgoing:  # to say it twice is harmless, not to say it is not
                feed.unsent.append(dispatch._replace(again=True))
            raise
        for (feed, dispatch), reply in zip(outgoing, replies, strict=False):
            self._told(feed, dispatch, reply)
        lost = False
        for (feed, limit), reply in zip(plan, replies[len(outgoing) :], strict=True):
            if isinstance(reply, StoreError):
                self._refused(feed, reply)
            elif reply.state == b"lost":
                lost = True
            elif not lost:
                self._take(feed, limit, reply, asked)
        if lost:
            self._forfeit()
            return
        self._board.words[boards.PROGRESS] = time.monotonic_ns()
        for command in self._durations.commands(asked):
            self._link.command(*command)

    # -- what came back ------------------------------------------------------------------------------------------

    def _told(self, feed: Feed, dispatch: Dispatch, reply: Any) -> None:
        if isinstance(reply, StoreError):
            self._refused(feed, reply)
            feed.unsent.append(dispatch)
            return
        hand = feed.hand
        for local in dispatch.ids:
            hand.pop(local, None)
        refused = reply.refused if isinstance(reply, Acked) else reply
        if refused and not dispatch.again:
            logger.warning(
                "queue %s: %d jobs were not ours any more when they were done, they run elsewhere as well: %s",
                feed.name, len(refused), ", ".join(local.decode() for local in refused[:5]),
            )  # fmt: skip

    def _refused(self, feed: Feed, error: StoreError) -> None:
        """Redis answered one step with an error: it is tried again in a second, the others go on."""
        if isinstance(error, StoreUnavailable):
            raise error
        logger.error("queue %s: %s", feed.name, error)
        self._again_ns = time.monotonic_ns() + _AGAIN_NS
        feed.may_have_work = False

    def _take(self, feed: Feed, limit: int, fetched: Fetched, asked: int) -> None:
        self._clock.learn(fetched.now_ms, asked)
        feed.may_have_work = bool(fetched.more)
        feed.due_ns = time.monotonic_ns() + fetched.due_in_ms * 1_000_000 + 1 if fetched.due_in_ms >= 0 else 0
        if fetched.missing:
            logger.error(
                "queue %s: the envelopes of %d jobs were deleted from outside, they cannot run: %s",
                feed.name, len(fetched.missing), ", ".join(local.decode() for local in fetched.missing[:20]),
            )  # fmt: skip
        if fetched.ids:
            self._distribute(feed, fetched.ids, fetched.envelopes, fetched.tries, fetched.crashes)
        if len(feed.hand) != fetched.held:
            self._doubt = True

    def _distribute(
        self, feed: Feed, ids: Sequence[bytes], envelopes: Sequence[bytes | None], tries: Any, crashes: Any
    ) -> None:
        """Hand what was fetched to the slots."""
        holder = self._tenure.holder
        threads, coroutines = self._admission.admit(feed, holder, ids, envelopes, tries, crashes)
        if crashes:
            suspects = [attempt.local for attempt in (*threads, *coroutines) if attempt.suspect]
            if suspects:
                self._link.run(transitions.announce(feed.keys, holder, suspects))
        now = time.monotonic_ns()
        for attempts, prefetch, offer in (
            (threads, self._threads, self._handover.offer),
            (coroutines, self._coroutines, self._handover.offer_async),
        ):
            if attempts:
                if not prefetch.in_hand:
                    prefetch.begun(now)
                prefetch.in_hand += len(attempts)
                offer(attempts)

    def _reconcile(self) -> None:
        """Make what is in hand equal to what Redis says is held."""
        self._doubt = False
        for feed in self._feeds:
            found, gone = self._tenure.compare(self._link, feed)
            if gone:
                lost = {feed.hand.pop(local) for local in gone}
                logger.warning(
                    "queue %s: %d jobs are not ours any more, they run elsewhere", feed.name, len(gone)
                )
                self._take_out(lost)
            if found.ids:
                logger.info(
                    "queue %s: %d jobs of a reply that was lost are taken up", feed.name, len(found.ids)
                )
                self._distribute(feed, found.ids, found.envelopes, found.tries, found.crashes)

    def _take_out(self, lost: set[Any]) -> None:
        """Drop those of these attempts that have not begun."""
        for line, prefetch in (
            (self._handover.ready, self._threads),
            (self._handover.ready_async, self._coroutines),
        ):
            for attempt in lost:
                try:
                    line.remove(attempt)
                except ValueError:
                    continue
                prefetch.in_hand -= 1

    def _forfeit(self) -> None:
        """The lease is lost: drop what has not begun, and begin again under a new name."""
        for attempt in self._handover.take_back():
            (self._coroutines if attempt.task.is_async else self._threads).in_hand -= 1
        self._admission.suspect = None
        self._tenure.forfeit()

    def _give_back(self, attempts: Sequence[Any]) -> None:
        """Release jobs that have not begun."""
        for attempt in attempts:
            (self._coroutines if attempt.task.is_async else self._threads).in_hand -= 1
            self._by_name[attempt.queue].batch.add(attempt, RELEASED)
            if attempt is self._admission.suspect:
                self._admission.suspect = None

    # -- sleeping ------------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        idle = not self._threads.in_hand and not self._coroutines.in_hand and not self._handover.done
        if self._abandoned:
            return True
        if not idle or any(feed.unsent or feed.batch.waiting for feed in self._feeds):
            return False
        return self._draining or (self._burst and not any(feed.may_have_work for feed in self._feeds))

    def _sleep(self, now: int) -> None:
        """Wait for a bell, a finished job, or the next moment that matters."""
        handover = self._handover
        wake_ns = min(
            [self._look_ns, *(feed.due_ns for feed in self._feeds if feed.due_ns)],
        )
        self._give_back_stale(now)
        if handover.ready or handover.ready_async:
            wake_ns = min(wake_ns, now + STALE_NS // 2)
        if any(feed.unsent for feed in self._feeds):
            wake_ns = min(wake_ns, self._again_ns)
        self._listen()
        poll = select.poll()
        poll.register(handover.wake_fd, select.POLLIN)
        if self._bells.armed:
            poll.register(self._bells.fileno(), select.POLLIN)
        if self._gathered:
            wake_ns = min(wake_ns, self._gathered_ns + GATHER_NS)
            handover.gathering = True
            awaited = bool(handover.ready)
        else:
            handover.listening = True
            awaited = not handover.done
        if awaited and not self._batches_waiting():
            pause_ms = max(0.0, (wake_ns - time.monotonic_ns()) / 1e6)
            for fd, _ in poll.poll(pause_ms):
                if fd == handover.wake_fd:
                    handover.heard()
                else:
                    self._hear()
        handover.listening = handover.gathering = False
        if self._bells.overdue():
            raise StoreUnavailable(f"Redis at {self._app.store.address} is silent: its connection is dead")

    def _batches_waiting(self) -> bool:
        return not self._gathered and any(feed.batch.waiting for feed in self._feeds)

    def _listen(self) -> None:
        """Block on the bells of the queues from which there is room to fetch."""
        if self._draining or self._quiet:
            return
        threads, coroutines = self._threads.room(), self._coroutines.room()
        open_feeds = [feed for feed in self._feeds if feed.limit(threads, coroutines) > 0]
        if not open_feeds or any(feed.may_have_work for feed in open_feeds):
            return  # what is known to be there is fetched with the next flush
        if not self._bells.armed:
            self._bells.arm(open_feeds)
        elif not self._bells.covers(open_feeds):
            self._bells.interrupt(self._link)

    def _hear(self) -> None:
        feed = self._bells.hear()
        if feed is not None:
            feed.may_have_work = True
            feed.pass_on = True  # if there is no room by now, the token goes on to somebody else

    def _give_back_stale(self, now: int) -> None:
        """Jobs that were fetched ahead and wait behind long ones go back, for others to take."""
        for line, prefetch in (
            (self._handover.ready, self._threads),
            (self._handover.ready_async, self._coroutines),
        ):
            try:
                waits_ns = now - line[0].fetched_ns
            except IndexError:
                continue
            if waits_ns < STALE_NS:
                continue
            prefetch.stuck()
            stale = []
            while True:
                try:
                    stale.append(line.popleft())
                except IndexError:
                    break
            for attempt in stale:
                self._by_name[attempt.queue].may_have_work = True
            self._give_back(stale)


__all__ = ["Exchange"]
