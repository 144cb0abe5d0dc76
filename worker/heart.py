"""The thread that keeps leases alive, looks for lost workers, and says how the fleet is.

It is a thread of the supervisor: so a child that is stuck in C code keeps its jobs, and one that is dead
loses them at once. It has a connection of its own, and no trouble with Redis ever ends it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ferryman import chance, orders
from ferryman.errors import StoreError, StoreUnavailable
from ferryman.orders import Order
from ferryman.store import Link, transitions
from ferryman.store.keys import QueueKeys
from ferryman.store.sync import drive
from ferryman.worker.ear import Ear
from ferryman.worker.notes import Note, withdraw, write
from ferryman.worker.recovery import Recovery

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

SWEEP_S = 2.0
_UNSWEPT_S = SWEEP_S * 0.7
"""For how long a look counts for everybody. Less than the shortest pause between two looks of one worker,
else every other look of a worker that is alone would find that it has just looked itself.
"""
Asked = list[tuple[str, str, str]]
"""(holder, queue, id) of every held job that is asked to be cancelled."""
Errand = Callable[[Recovery, Link], None]


class Heart:
    """Beats every quarter of a lease. `holders` gives the names to keep alive, `notes` what they do;
    `on_asked` is called with all jobs that are to be cancelled, whenever there are any, or have been any;
    `on_order` with each order for `name`, the fleet's name for its orders.
    """

    def __init__(
        self,
        app: Ferryman,
        queues: Sequence[str],
        holders: Callable[[], list[str]],
        notes: Callable[[], list[Note]],
        on_asked: Callable[[Asked], None],
        name: str,
        on_order: Callable[[Order], None],
    ) -> None:
        self._app = app
        self._keys: list[QueueKeys] = [app.store.keys(name) for name in queues]
        self._holders = holders
        self._notes = notes
        self._on_asked = on_asked
        self.name = name
        self._on_order = on_order
        self._asked = False
        self._link = app.store.link()
        self._recovery = Recovery(app, self._link)
        # Not a SimpleQueue: its `get(timeout=...)` waits for ever if a signal breaks it off past its end, in
        # CPython 3.11.7. SIGCONT after a SIGSTOP does: the heart beat no more, and the leases lapsed.
        self._errands: queue.Queue[Errand | None] = queue.Queue()
        self._noted: set[str] = set()
        self._complained = False
        self._called = threading.Event()
        channels = [app.store.fleet_keys.called, *(keys.orders for keys in self._keys)]
        self._ear = Ear(app, channels, lambda: [name, *holders()], self._look_soon)
        self._stopping = False
        self._sweeps_from = 0.0
        self.reached_ns = 0
        """Since when Redis has been reachable without a break (monotonic); 0: it is not."""
        self._thread = threading.Thread(target=self._run, name="ferryman-heart", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()
        self._ear.start()

    def run_soon(self, errand: Errand) -> None:
        """Have something done by this thread at once, and again until it succeeds."""
        self._errands.put(errand)

    def answer(self, order: str, worker: str, text: str = "") -> None:
        """Leave a worker's answer to an order, soon."""
        command = orders.answer(self._app.store.fleet_keys, order, worker, text)
        self.run_soon(lambda _, link: link.command(*command))

    def stop(self, timeout: float) -> bool:
        """Finish what was asked for, withdraw the notes and end. Whether it ended in time."""
        self._ear.stop(timeout)
        self._stopping = True
        self._errands.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _look_soon(self) -> None:
        """Somebody wants something. Called by the ear."""
        self._called.set()
        self._errands.put(None)

    def _run(self) -> None:
        beat_s = self._app.settings.lease_s / 4
        next_beat = next_sweep = 0.0
        pending: list[Errand] = []
        while True:
            try:
                now = time.monotonic()
                self._run_errands(pending)
                if self._stopping and self._errands.empty():
                    break
                if now >= next_beat:
                    next_beat = now + beat_s * chance.between(0.9, 1.0)
                    self._beat()
                elif self._called.is_set():
                    self._renew()
                next_sweep = max(next_sweep, self._sweeps_from)
                if now >= next_sweep:
                    next_sweep = now + SWEEP_S * chance.between(0.75, 1.25)
                    for keys in self._keys:
                        self._recovery.sweep(keys, _UNSWEPT_S)
                self.reached_ns = self.reached_ns or time.monotonic_ns()
                pause_s = min(next_beat, next_sweep) - time.monotonic()
            except StoreError as error:
                pause_s = self._trouble(error)
                next_beat = 0.0
                if self._stopping:
                    break
            except Exception:
                logger.exception("the heart met an error of its own, and goes on")
                self._link.close()
                pause_s = 1.0
            self._wait(pause_s, pending)
        self._end()

    def _run_errands(self, pending: list[Errand]) -> None:
        while pending:
            try:
                pending[0](self._recovery, self._link)
            except StoreUnavailable:
                raise
            except StoreError:  # it would be refused again; the sweep, later, has the same end
                logger.exception("jobs of a lost worker could not be taken back at once")
            pending.pop(0)

    def _wait(self, pause_s: float, pending: list[Errand]) -> None:
        try:
            errand = (
                self._errands.get(timeout=max(pause_s, 0.001))
                if not pending
                else self._errands.get(timeout=0.1)
            )
            if errand is not None:
                pending.append(errand)
        except queue.Empty:
            return

    def _trouble(self, error: StoreError) -> float:
        if self.reached_ns or not self._complained:
            logger.warning("%s; leases cannot be kept until it is back", error)
            self._complained = True
        self.reached_ns = 0
        # When Redis is back, every lease may have lapsed. The others want to keep theirs as we do: who looked
        # for lost workers at once would find them all.
        self._sweeps_from = time.monotonic() + self._app.settings.lease_s / 4
        self._link.close()
        return chance.between(0.1, 0.4)

    def _beat(self) -> None:
        self._renew()
        notes = self._notes()
        current = {note.id for note in notes}
        ttl_s = self._app.settings.lease_s * 3
        for note in notes:
            write(self._link, self._app.store.fleet_keys, note, ttl_s)
        for worker_id in self._noted - current:
            withdraw(self._link, self._app.store.fleet_keys, worker_id)
        self._noted = current

    def _renew(self) -> None:
        """Keep the leases, and hear with the same breath what is asked of their holders."""
        self._called.clear()  # who calls from now on may have come too late for this look
        holders = self._holders()
        asked: Asked = []
        lease_ms = int(self._app.settings.lease_s * 1000)
        if holders:
            steps = [transitions.heartbeat(keys, holders, lease_ms) for keys in self._keys]
            for keys, reply in zip(self._keys, self._link.pipeline(steps), strict=True):
                if isinstance(reply, StoreError):
                    raise reply
                asked += [(holder, keys.queue, local) for holder, local in reply.asked]
        if asked or self._asked:
            self._on_asked(asked)
        self._asked = bool(asked)
        for order in drive(self._link, orders.take(self._app.store.fleet_keys, self.name)):
            self._on_order(order)

    def _end(self) -> None:
        try:
            for worker_id in self._noted:
                withdraw(self._link, self._app.store.fleet_keys, worker_id)
        except StoreError:
            pass  # the notes run out by themselves
        self._link.close()
