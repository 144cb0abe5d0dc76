"""What every worker process is made of: an exchange, slots, an event loop, deadlines; wired together, started
and ended.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ferryman import chance, ids
from ferryman.errors import ConfigurationError, StoreError
from ferryman.interrupts import Cancelled, ShuttingDown
from ferryman.outcome import Ended
from ferryman.settlement import settle
from ferryman.worker.board import DRAINING, QUIET, RUNNING, STATE, Board
from ferryman.worker.clock import ServerClock
from ferryman.worker.coroutines import Coroutines
from ferryman.worker.deadlines import Deadlines
from ferryman.worker.exchange import Exchange
from ferryman.worker.feeds import Feed
from ferryman.worker.handover import Handover
from ferryman.worker.reports import tell
from ferryman.worker.settings import Share, WorkerSettings
from ferryman.worker.slots import Slot
from ferryman.worker.tenure import Tenure

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

LAST_WORD_S = 1.0
"""How long jobs that are told to end may take to do so."""


class Engine:
    """The machinery of one worker process."""

    def __init__(self, app: Ferryman, settings: WorkerSettings, board: Board | None = None) -> None:
        if app.store.address.kind == "memory":
            raise ConfigurationError(
                "workers need a server: memory:// is for tests, which run their jobs themselves"
            )
        self.app = app
        self.settings = settings
        self.board = board or Board.private(settings.threads + settings.concurrency)
        shares = settings.queues or queues_of(app, ())
        weighted = any(share.weight for share in shares)
        ranks = {
            name: rank for rank, name in enumerate(dict.fromkeys(ids.base(share.queue) for share in shares))
        }
        counts = Counter(ids.base(share.queue) for share in shares)
        self.feeds = [self._feed(share, ranks, counts) for share in shares]
        indexes = {feed.name: index for index, feed in enumerate(self.feeds)}
        self.handover = Handover()
        self._clock = ServerClock()
        self._deadlines = Deadlines()
        kill_after_ns = int(app.settings.kill_after_s * 1e9)
        self.slots = [
            Slot(number, self.handover, self.board, self._deadlines, self._clock, indexes, kill_after_ns)
            for number in range(settings.threads)
        ]
        self._deadlines.watch(self.slots)
        self.coroutines: Coroutines | None = None
        if settings.concurrency and (any(task.is_async for task in app.tasks.values()) or _has_async(app)):
            self.coroutines = Coroutines(
                self.handover,
                self.board,
                self._clock,
                indexes,
                kill_after_ns,
                settings.threads,
                settings.concurrency,
            )
        lease_ms = int(app.settings.lease_s * 1000)
        self.tenure = Tenure(self.feeds, self.board, app.store.fleet_keys, lease_ms, settings.name)
        enough = int(settings.max_jobs * chance.between(0.9, 1.1)) or settings.max_jobs
        self.exchange = Exchange(
            app, self.feeds, self.tenure, self.handover, self.board,
            threads=settings.threads, concurrency=settings.concurrency if self.coroutines else 0,
            clock=self._clock, weighted=weighted, burst=settings.burst, max_jobs=enough,
        )  # fmt: skip
        self._over = threading.Event()
        self.on_over: Callable[[], object] = lambda: None
        """Called when the engine is over."""
        self._thread = threading.Thread(target=self._exchange, name="ferryman-exchange", daemon=True)

    def _feed(self, share: Share, ranks: Mapping[str, int], counts: Mapping[str, int]) -> Feed:
        app, queue = self.app, ids.base(share.queue)
        kinds = [task.is_async for task in app.tasks.values() if task.defaults.queue == queue]
        share_async = sum(kinds) / len(kinds) if kinds else 0.0
        if not self.settings.threads:
            share_async = 1.0
        elif not self.settings.concurrency:
            share_async = 0.0
        return Feed(
            share.queue,
            app.store.keys(share.queue),
            app.queue_order(share.queue),
            (share.weight or 1) / counts[queue],
            share_async,
            ranks[queue],
        )

    # -- start and end ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run the app's startup hooks, then take jobs. Raises what a hook raises."""
        if self.coroutines is not None:
            self.coroutines.start()
        self._call_hooks(self.app.hooks.startup)
        for slot in self.slots:
            slot.start()
        self._thread.start()
        self.board.words[STATE] = RUNNING

    def _exchange(self) -> None:
        try:
            self.exchange.run()
        finally:
            self._over.set()
            self.on_over()

    def quiet(self, quiet: bool) -> None:
        """Take no new jobs and stay, or take jobs again."""
        self.board.words[STATE] = QUIET if quiet else RUNNING
        self.exchange.quiet(quiet)

    def drain(self) -> None:
        """Take no new jobs, give back what has not begun; the engine is over when what runs is done."""
        self.board.words[STATE] = DRAINING
        self.exchange.drain()

    def is_over(self, timeout: float = 0.0) -> bool:
        """Whether the exchange has ended, waiting for it for a while."""
        return self._over.wait(timeout) if timeout else self._over.is_set()

    def break_off(self) -> None:
        """Tell everything that runs to end now; it counts as not begun."""
        for slot in self.slots:
            if (attempt := slot.current) is not None:
                slot.interrupt(attempt, ShuttingDown)
        if self.coroutines is not None:
            self.coroutines.interrupt_all()

    def cancel(self, queue: str, local: str) -> None:
        """End a job that somebody asked to cancel: it is interrupted once, or does not begin. One that is not
        in hand here is left alone. Called by other threads.
        """
        feed = next((feed for feed in self.feeds if feed.name == queue), None)
        attempt = feed.hand.get(local.encode()) if feed is not None else None
        if attempt is None or attempt.cancelled:
            return
        attempt.cancelled = True
        if self.handover.withdraw(attempt):
            outcome = Ended("cancelled")
            settled = settle(attempt, outcome, self._clock.now_ms())
            tell(attempt, outcome, settled)
            self.handover.done.append((attempt, settled))
            self.handover.nudge()
        elif not attempt.task.is_async:
            self._deadlines.cancel(attempt)
        elif self.coroutines is not None:
            self.coroutines.interrupt(attempt, Cancelled)

    def running(self) -> int:
        """How many attempts run."""
        return len(self.board.running())

    def finish(self, *, release: bool = True) -> bool:
        """After a drain whose time is over: break off what runs, and end. Whether everything ended by itself.

        `release`: give back what cannot be ended. A process that is about to exit leaves that to its
        supervisor, who knows when it really is gone."""
        if not self.is_over():
            self.drain()
            self.break_off()
            if not self.is_over(LAST_WORD_S):
                if not release:
                    return False
                self.exchange.abandon()
                self.is_over(self.app.settings.timeout_s + LAST_WORD_S)
                return False
        return True

    def close(self) -> None:
        """End the threads and run the app's shutdown hooks. Call it when the engine is over."""
        self.handover.close()
        self._deadlines.stop()
        gone = [slot.join(0.2 if slot.current is not None else 2.0) for slot in self.slots]
        self._call_hooks(self.app.hooks.shutdown, stop_at_error=False)
        if self.coroutines is not None:
            gone.append(self.coroutines.stop(1.0))
        if all(gone):  # a thread that hangs may still write to the pipe, and must not find another file there
            self.handover.dispose()

    def _call_hooks(self, hooks: Sequence[Callable[[], Any]], *, stop_at_error: bool = True) -> None:
        for hook in hooks:
            try:
                found = hook()
                if inspect.iscoroutine(found):
                    assert self.coroutines is not None, "made if there is an async hook"  # noqa: S101
                    self.coroutines.call(found)
            except Exception:
                if stop_at_error:
                    raise
                logger.exception("a shutdown hook failed")


def queues_of(app: Ferryman, shares: Sequence[Share]) -> list[Share]:
    """The queues to work on: those that were named, or those of the registered tasks; each shard of one with
    shards, also those that only Redis knows of, if it can be asked.
    """
    names = sorted({task.defaults.queue for task in app.tasks.values()} or {app.settings.default_queue})
    found: dict[str, Share] = {}
    for share in shares or [Share(name) for name in names]:
        try:
            kept = app.store.drive(app.shard_list.of(share.queue))
        except StoreError:
            kept = app.shards_of(share.queue)
        for name in kept if "#" not in share.queue else [share.queue]:
            found.setdefault(name, Share(name, share.weight))
    return list(found.values())


def _has_async(app: Ferryman) -> bool:
    return any(inspect.iscoroutinefunction(hook) for hook in (*app.hooks.startup, *app.hooks.shutdown))
