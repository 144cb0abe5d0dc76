"""The scheduler as a process: signals, connections, and a sleep that ends at the next due moment."""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
from typing import TYPE_CHECKING

from ferryman import chance
from ferryman.errors import ConfigurationError, FerrymanError, StoreError, StoreUnavailable
from ferryman.location import AppNotFound, find_app
from ferryman.scheduler import exitcodes
from ferryman.scheduler.bell import Bell
from ferryman.scheduler.clock import ServerClock
from ferryman.scheduler.engine import Engine
from ferryman.scheduler.lease import Lease, scheduler_name
from ferryman.scheduler.settings import SchedulerSettings
from ferryman.schedules.files import read_file
from ferryman.schedules.sync import source_of, sync
from ferryman.signals import caught

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.scheduler")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_PAUSE_S = 60.0


def run_scheduler(settings: SchedulerSettings) -> int:
    """Fire the ticks of an app's schedules, or stand by while another scheduler does, until told to end;
    gives the exit code (`ferryman.scheduler.exitcodes`). Blocks, and takes TERM and INT, so it must be called
    in the main thread.
    """
    try:
        app = find_app(settings.app)
    except AppNotFound as error:
        logger.critical("%s", error)
        return exitcodes.NO_APP
    except ConfigurationError as error:
        logger.critical("%s", error)
        return exitcodes.USAGE
    if app.store.address.kind == "memory":
        logger.critical("a scheduler needs a server: memory:// is for tests")
        return exitcodes.USAGE
    return SchedulerProcess(app, settings).run()


class SchedulerProcess:
    """One scheduler with its connections."""

    def __init__(self, app: Ferryman, settings: SchedulerSettings) -> None:
        self._app, self._settings = app, settings
        self._link, self._bell = app.store.link(), Bell(app.store.link())
        clock = ServerClock()
        self._lease = Lease(app.store.fleet_keys, scheduler_name(), int(settings.lease_s * 1000))
        self._engine = Engine(app, self._link, self._lease, clock)
        self._ending = self._away = self._synced = self._led = False

    def run(self) -> int:
        """Until told to end; the exit code."""
        logger.info("scheduler %s of %s is up", self._lease.name, self._app.store.address)
        with caught(SIGNALS) as signals:
            while not self._ending:
                try:
                    self._turn(signals)
                except StoreUnavailable as error:
                    self._trouble(error, signals)
                except StoreError as error:
                    if not self._synced:
                        logger.critical("%s", error)
                        return exitcodes.STORE_REFUSED
                    self._trouble(error, signals)
                except Exception:
                    logger.exception("the scheduler met an error of its own, and goes on")
                    self._reset()
                    self._sleep(signals, 1.0)
        with contextlib.suppress(StoreError):  # its lease runs out by itself
            self._lease.give_up(self._link)
        self._link.close()
        self._bell.close()
        logger.info("scheduler %s has ended", self._lease.name)
        return exitcodes.CLEAN

    def _turn(self, signals: socket.socket) -> None:
        if not self._synced:
            self._sync()
        keys = self._app.store.fleet_keys
        # Armed before the look: what is changed after the look rings, and what was changed before is seen.
        self._bell.arm(keys.chime if self._engine.leads else keys.vacancy)
        pause_ms = self._engine.turn()
        if self._away:
            self._away = False
            logger.info("Redis is back")
        if self._engine.leads != self._led:
            self._led = self._engine.leads
            return  # the other bell is the right one now
        self._wait(signals, pause_ms / 1000)

    def _sync(self) -> None:
        app = self._app
        sources = [(source_of(app, self._settings.app), dict(app.declared), frozenset[str]())]
        for path in self._settings.files:
            try:
                found = read_file(app, path)
            except FerrymanError as error:
                logger.error("%s; its schedules stay as they were", error)
                continue
            for problem in found.problems:
                logger.error("%s", problem)
            sources.append((f"file:{path}", found.definitions, found.unreadable))
        for source, defined, unreadable in sources:
            done = app.store.drive(sync(app, source, defined, keep=unreadable))
            for problem in done.problems:
                logger.error("%s", problem)
            logger.info("schedules of %s: %s", source, done)
        self._synced = True

    # -- waiting ---------------------------------------------------------------------------------------------

    def _wait(self, signals: socket.socket, pause_s: float) -> None:
        if pause_s <= 0:
            self._sleep(signals, 0)
            return
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            bell = self._bell.fileno()
            selector.register(bell, selectors.EVENT_READ)
            for key, _ in selector.select(min(pause_s, _LONGEST_PAUSE_S)):
                if key.fileobj is signals:
                    self._heed(signals)
                elif self._bell.hear():
                    self._engine.bell_rang()

    def _sleep(self, signals: socket.socket, pause_s: float) -> None:
        """Wait for a signal only."""
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            if selector.select(pause_s):
                self._heed(signals)

    def _heed(self, signals: socket.socket) -> None:
        if signals.recv(4096):
            self._ending = True

    def _trouble(self, error: StoreError, signals: socket.socket) -> None:
        if not self._away:
            logger.warning("%s; ticks wait until it is back", error)
            self._away = True
        self._reset()
        self._sleep(signals, chance.between(0.05, 0.25))

    def _reset(self) -> None:
        self._link.close()
        self._bell.close()
        self._engine.forget()
        self._lease.ask_now()
