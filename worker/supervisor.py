"""The supervisor: starts worker processes, keeps their leases, sees them die, and passes on what it is told.

One loop, which sleeps until a signal, a word from a child or a moment that it knows of. What speaks to Redis
is the heart, on a thread of its own, so that no trouble there ever keeps a signal waiting."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ferryman import ids
from ferryman.errors import ConfigurationError, StoreError
from ferryman.location import AppNotFound, find_app
from ferryman.orders import Order
from ferryman.signals import caught
from ferryman.store import Link
from ferryman.worker import control, exitcodes
from ferryman.worker.child import Child, Departure
from ferryman.worker.engine import queues_of
from ferryman.worker.fitness import check_store
from ferryman.worker.heart import Asked, Heart
from ferryman.worker.inbox import Inbox
from ferryman.worker.notes import Note
from ferryman.worker.recovery import Recovery
from ferryman.worker.rollcall import notes_of
from ferryman.worker.settings import WorkerSettings, check_platform
from ferryman.worker.tenure import new_holder
from ferryman.worker.warden import Warden

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

SIGNALS = (
    signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1, signal.SIGTTIN,
    signal.SIGHUP, signal.SIGCHLD,
)  # fmt: skip
SETTLED_S = 60.0
"""A process that ran for so long was not the reason why the next one dies."""
LONGEST_PAUSE_S = 30.0
NEVER_READY_LIMIT = 3
_EXIT_S = 5.0  # beyond its grace, for shutdown hooks and the interpreter's own end


def run_fleet(settings: WorkerSettings) -> int:
    """Run worker processes until told to end; gives the exit code (see `ferryman.worker.exitcodes`).

    Blocks, and takes the signals of this process, so it must be called in the main thread. TERM or INT:
    drain, and once more: end at once. TSTP: take nothing new; CONT: take jobs again. USR1 or TTIN: print what
    every slot does. HUP: replace the processes one by one."""
    check_platform()
    try:
        app = find_app(settings.app)
        check_store(app)
    except AppNotFound as error:
        logger.critical("%s", error)
        return exitcodes.NO_APP
    except ConfigurationError as error:
        logger.critical("%s", error)
        return exitcodes.USAGE
    except StoreError as error:
        logger.critical("%s", error)
        return exitcodes.STORE_REFUSED
    return Supervisor(app, settings).run()


class Supervisor:
    """The processes of one fleet on this machine."""

    def __init__(self, app: Ferryman, settings: WorkerSettings) -> None:
        self._app = app
        shares = queues_of(app, settings.queues)
        self._settings = replace(settings, queues=tuple(shares))  # one list, in one order, for all processes
        self._queues = [share.queue for share in shares]
        self._children: list[Child] = []
        self._starts: dict[int, float] = {}  # place -> when to start a process there
        self._pauses: dict[int, float] = {}
        self._never_ready = 0
        self._ending = False
        self._kill_at: float | None = None
        self._code = exitcodes.CLEAN
        self._quiet: set[int] = set()
        """Places whose processes take nothing new, and whose successors won't either."""
        self._rolling: list[Child] = []
        self._inbox = Inbox()
        self._id = new_holder(settings.name)
        self._heart = Heart(
            app, self._queues, self._holders, self._notes, self._asked, self._id, self._ordered
        )
        self._warden = Warden(app.settings.stall_after_s, app.settings.kill_after_s, self._queues)
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Until told to end, or in burst mode until there is nothing left to do; the exit code."""
        logger.info(
            "%d processes with %d threads each work on %s of %s",
            self._settings.processes, self._settings.threads,
            ", ".join(dict.fromkeys(map(ids.base, self._queues))),
            self._app.store.address,
        )  # fmt: skip
        with caught(SIGNALS) as signals:
            self._selector.register(signals, selectors.EVENT_READ)
            self._selector.register(self._inbox, selectors.EVENT_READ)
            self._heart.start()
            try:
                for place in range(self._settings.processes):
                    self._start(place)
                while self._children or self._starts:
                    self._turn(signals)
            finally:
                for child in self._children:  # only if we fail ourselves
                    child.kill("the supervisor failed")
                self._heart.stop(self._app.settings.timeout_s + 1)
                self._inbox.close()
        return self._code

    def _turn(self, signals: socket.socket) -> None:
        for key, _ in self._selector.select(self._pause_s()):
            if key.fileobj is signals:
                for number in signals.recv(4096):
                    self._signal(signal.Signals(number))
            elif key.fileobj is self._inbox:
                for errand in self._inbox.take():
                    errand()
            else:
                self._hear(key.data)
        for child in list(self._children):
            departure = child.look()
            if departure is not None:
                self._departed(child, departure)
        self._warden.look(self._children, self._heart.reached_ns)
        now = time.monotonic()
        for place, at in list(self._starts.items()):
            if now >= at:
                del self._starts[place]
                self._start(place)
        if self._kill_at is not None and now >= self._kill_at:
            for child in self._children:
                child.kill("it did not end in time")

    def _pause_s(self) -> float:
        now = time.monotonic()
        moments = [now + self._warden.pause_s(self._children), *self._starts.values()]
        if self._kill_at is not None:
            moments.append(max(self._kill_at, now + 0.05))
        return max(min(moments) - now, 0.0)

    # -- children --------------------------------------------------------------------------------------------

    def _start(self, place: int) -> None:
        if self._ending:
            return
        child = Child(place, self._settings)
        self._children.append(child)
        self._selector.register(child.control, selectors.EVENT_READ, child)

    def _hear(self, child: Child) -> None:
        for line in child.control.hear():
            if line == control.READY:
                child.ready = True
                self._never_ready = 0
                if child.place in self._quiet:
                    child.control.say(control.QUIET)
                self._roll()
            elif line == control.RECYCLE and not child.replaced:
                child.replaced = True
                self._start(child.place)
            elif line.startswith(control.STACKS_OF):
                order_id, text = json.loads(line.removeprefix(control.STACKS_OF))
                self._heart.answer(order_id, child.holder(), text)
        if child.control.closed:  # it has ended, or is just about to: `look` will tell
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.control)

    def _departed(self, child: Child, departure: Departure) -> None:
        self._children.remove(child)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.control)
        clean = departure.orderly and departure.code in {exitcodes.CLEAN, exitcodes.RECYCLED}
        clean = clean and not child.condemned
        clean = clean or (self._ending and not child.ready)
        if not clean:
            self._report(child, departure)
        if departure.holder:
            self._take_back(child, departure, crashed=not departure.orderly and not child.condemned)
        child.close()
        if self._ending:
            self._code = self._code if clean else max(self._code, exitcodes.BROKEN_OFF)
        elif not child.replaced and not (
            self._settings.burst and clean and departure.code == exitcodes.CLEAN
        ):
            self._replace(child, departure, clean)

    def _report(self, child: Child, departure: Departure) -> None:
        jobs = ", ".join(
            f"{entry.local.decode()}@{self._queues[entry.queue]}" for entry in departure.running[:10]
        )
        logger.error(
            "worker process %d %s%s%s", child.pid, departure,
            f": {child.condemned}" if child.condemned else "",
            f"; it was running {jobs}" if jobs and not child.condemned else "",
        )  # fmt: skip

    def _take_back(self, child: Child, departure: Departure, *, crashed: bool) -> None:
        """Have its jobs given back now. Only a crash charges what was running; whoever ran past a limit, has
        timed out.
        """
        keys_of, queues, holder, overdue = self._app.store.keys, self._queues, departure.holder, child.overdue

        def errand(recovery: Recovery, _: Link) -> None:
            moved = 0
            for index, queue in enumerate(queues):
                late = [entry for entry in overdue if entry.queue == index]
                if late:
                    recovery.settle_overdue(keys_of(queue), holder, late)
                running = (
                    [entry.local.decode() for entry in departure.running if entry.queue == index]
                    if crashed
                    else []
                )
                moved += recovery.recover(keys_of(queue), holder, forced=True, running=running)
            if moved:
                logger.info("%d jobs of worker %s were given back", moved, holder)

        self._heart.run_soon(errand)

    def _replace(self, child: Child, departure: Departure, clean: bool) -> None:
        if not child.ready and not clean:
            self._never_ready += 1
            if departure.code == exitcodes.NO_APP or self._never_ready >= NEVER_READY_LIMIT:
                logger.critical("worker processes end before they are ready; what they wrote above says why")
                self._code = exitcodes.NEVER_READY
                self._end()
                return
        now = time.monotonic()
        # One that finished jobs was killed by a job, and there are only so many of those: each is dead after
        # a few crashes. The pauses are for processes that cannot work at all.
        if clean or departure.done or now - child.started > SETTLED_S:
            self._pauses.pop(child.place, None)
        pause_s = self._pauses.get(child.place, 0.0)
        self._pauses[child.place] = min(max(pause_s * 2, 0.5), LONGEST_PAUSE_S)
        self._starts[child.place] = now + (0.0 if clean else pause_s)

    # -- signals ---------------------------------------------------------------------------------------------

    def _signal(self, number: signal.Signals) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            self._end()
        elif number == signal.SIGHUP:
            if os.isatty(0):  # the terminal has gone
                self._end()
            elif not self._ending:
                logger.info("the processes are replaced, one after the other")
                self._rolling = [child for child in self._children if not child.replaced]
                self._roll()
        elif number in {signal.SIGUSR1, signal.SIGTTIN}:
            self._tell(control.STACKS)
        elif number in {signal.SIGTSTP, signal.SIGCONT} and not self._ending:
            self._hush(self._children, number == signal.SIGTSTP)

    # -- orders ----------------------------------------------------------------------------------------------

    def _ordered(self, order: Order) -> None:
        self._inbox.put(lambda: self._carry_out(order))

    def _carry_out(self, order: Order) -> None:
        """Do what somebody far away asked for, and say so for each process."""
        chosen = [child for child in self._children if not order.workers or child.holder() in order.workers]
        logger.info("ordered to %s: %d processes", order.verb, len(chosen))
        if order.verb in {"quiet", "resume"} and not self._ending:
            self._hush(chosen, order.verb == "quiet", every=not order.workers)
        elif order.verb == "stop":
            self._stop(chosen, every=not order.workers)
        for child in chosen:
            if order.verb == "stacks":
                child.control.say(control.stacks_order(order.id))
            else:
                self._heart.answer(order.id, child.holder())

    def _hush(self, children: Sequence[Child], quiet: bool, *, every: bool = True) -> None:
        """Let these processes, and their successors, take nothing new, or jobs again."""
        places = set(range(self._settings.processes)) if every else {child.place for child in children}
        changed = places - self._quiet if quiet else places & self._quiet
        if not changed:
            return
        logger.info("%s", "no new jobs are taken, until SIGCONT" if quiet else "jobs are taken again")
        self._quiet = self._quiet | places if quiet else self._quiet - places
        for child in children:
            child.control.say(control.QUIET if quiet else control.RESUME)

    def _stop(self, children: Sequence[Child], *, every: bool) -> None:
        """Let these processes drain without a successor; all of them: the supervisor ends with them."""
        if every and not self._ending:  # asked twice, it does not mean at once, as a signal does
            self._end()
        elif not every:
            for child in children:
                child.replaced = True
                child.control.say(control.DRAIN)

    def _roll(self) -> None:
        """Start the successor of the next process that is to be replaced; when that is ready, it is the next
        one's turn.
        """
        while self._rolling:
            child = self._rolling.pop(0)
            if child in self._children and not child.replaced:
                child.replaced = True
                self._start(child.place)
                child.control.say(control.DRAIN)
                return

    def _tell(self, order: str) -> None:
        for child in self._children:
            child.control.say(order)

    def _end(self) -> None:
        """The first time: drain. After that: at once."""
        grace_s = 0.0 if self._ending else self._settings.grace_s
        logger.info(
            "%s",
            "ends now; running jobs are given back" if self._ending else f"drains, for up to {grace_s:g} s",
        )
        self._tell(control.NOW if self._ending else control.DRAIN)
        self._ending = True
        self._starts.clear()
        self._kill_at = time.monotonic() + grace_s + _EXIT_S
        for child in self._children:
            if not child.ready:
                child.kill("it was not ready yet")
            elif child.stopped:
                child.kill("it is stopped and cannot end")

    # -- what the heart asks ---------------------------------------------------------------------------------

    def _holders(self) -> list[str]:
        return [holder for child in list(self._children) if not child.stopped and (holder := child.holder())]

    def _asked(self, asked: Asked) -> None:
        self._inbox.put(lambda: self._cancel(asked))

    def _cancel(self, asked: Asked) -> None:
        """Tell each child which of its jobs are to end: once. The others of which it was told have ended."""
        for child in self._children:
            holder = child.holder()
            wanted = {(queue, local) for name, queue, local in asked if name == holder}
            child.cancelled = {job: told for job, told in child.cancelled.items() if job in wanted}
            for queue, local in wanted - child.cancelled.keys():
                child.cancel(queue, local)

    def _notes(self) -> list[Note]:
        return notes_of(list(self._children), self._settings, self._queues, self._id)
