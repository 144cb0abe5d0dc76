"""A worker inside another program: for tests, for notebooks, for an application that runs its own small jobs.

There is no supervisor, so a job that never ends cannot be killed, and a crash of the program leaves its jobs
until the lease lapses."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ferryman import __version__, ids
from ferryman.orders import Order
from ferryman.worker.board import DONE, FAILED, LEFT, NEWEST, READS, STATE, STATES
from ferryman.worker.engine import Engine, queues_of
from ferryman.worker.fitness import check_layout
from ferryman.worker.heart import Asked, Heart
from ferryman.worker.notes import Note
from ferryman.worker.settings import Share, WorkerSettings, parse_queues
from ferryman.worker.stacks import describe
from ferryman.worker.tenure import new_holder

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")


class InProcessWorker:
    """Runs an app's jobs on threads and a loop of this process.

        with InProcessWorker(app, ["mail"]):
            ...

    `queues`: names, or ``"critical,mail:3"``; none: every queue that a registered task names. The tasks must
    be registered before. Start it once; a stopped worker stays stopped. Not for ``memory://``."""

    def __init__(
        self,
        app: Ferryman,
        queues: Sequence[str] | str = (),
        *,
        threads: int = 8,
        concurrency: int = 100,
        name: str = "",
        burst: bool = False,
    ) -> None:
        shares = parse_queues(queues) if isinstance(queues, str) else tuple(Share(queue) for queue in queues)
        settings = WorkerSettings(
            app="",
            queues=tuple(queues_of(app, shares)),
            threads=threads,
            concurrency=concurrency,
            name=name,
            burst=burst,
        )
        self._app = app
        self.engine = Engine(app, settings)
        self._started_ms = int(time.time() * 1000)
        self._heart = Heart(
            app,
            [feed.name for feed in self.engine.feeds],
            self._holders,
            self._notes,
            self._cancel,
            new_holder(name),
            self._take_order,
        )
        self._running = False

    @property
    def holder(self) -> str:
        """The name under which it holds jobs; '' before it has a lease."""
        return self.engine.board.holder()

    @property
    def done(self) -> int:
        """How many attempts it has finished."""
        return int(self.engine.board.words[DONE])

    def start(self) -> Self:
        """Take jobs. Raises what a startup hook raises, and `StoreIncompatible`."""
        check_layout(self._app)
        self._heart.start()
        self.engine.start()
        self._running = True
        return self

    def stop(self, *, drain: bool = True, timeout: float = 30.0) -> bool:
        """End: with `drain`, running jobs have up to `timeout` seconds; what is left then, or at once
        without, is broken off and given back. Whether every job that had begun also ended."""
        if not self._running:
            return True
        self._running = False
        self.engine.drain()
        whole = drain and self.engine.is_over(timeout)
        if not whole:
            busy = self.engine.running()
            whole = self.engine.finish() and not busy
        self.engine.close()
        self._heart.stop(self._app.settings.timeout_s)
        return whole

    def join(self, timeout: float) -> bool:
        """With ``burst=True``: wait until there is nothing left to run. Whether that came in time."""
        return self.engine.is_over(timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(drain=error is None)

    def _holders(self) -> list[str]:
        return [self.holder] if self.holder and not self.engine.is_over() else []

    def _cancel(self, asked: Asked) -> None:
        for _, queue, local in asked:
            self.engine.cancel(queue, local)

    def _take_order(self, order: Order) -> None:
        if order.verb in {"quiet", "resume"}:
            self.engine.quiet(order.verb == "quiet")
        elif order.verb == "stop":
            self.engine.drain()
        self._heart.answer(order.id, self.holder, describe(self.engine) if order.verb == "stacks" else "")

    def _notes(self) -> list[Note]:
        if not self.holder:
            return []
        words = self.engine.board.words
        settings = self.engine.settings
        note = Note(
            self.holder, socket.gethostname(), os.getpid(), os.getpid(), STATES[words[STATE]],
            list(dict.fromkeys(ids.base(feed.name) for feed in self.engine.feeds)),
            settings.threads, settings.concurrency,
            self._started_ms, int(time.time() * 1000), words[DONE], words[FAILED],
            supervisor_id=self._heart.name,
            release=__version__, reads=words[READS], newest_met=words[NEWEST], left=words[LEFT],
        )  # fmt: skip
        return [note]
