"""One worker process: ``python -m ferryman.worker.process <control fd> <board fd>``, started by a supervisor.

The main thread does nothing but listen: to its supervisor, to signals, and to the engine's end.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import resource
import selectors
import signal
import socket
import sys
import time
from typing import Any

from ferryman import log
from ferryman.errors import ConfigurationError
from ferryman.location import AppNotFound, find_app
from ferryman.signals import noted
from ferryman.worker import control, exitcodes, stacks
from ferryman.worker.board import RSS, Board
from ferryman.worker.control import Control
from ferryman.worker.engine import Engine
from ferryman.worker.settings import WorkerSettings

logger = logging.getLogger("ferryman.worker")

WEIGH_S = 2.0
_ORPHANS_SHARE_OF_LEASE = 0.6


class Process:
    """The life of one worker process after its start."""

    def __init__(self, link: Control, settings: WorkerSettings, signals: socket.socket, wake_fd: int) -> None:
        self._link = link
        self._settings = settings
        self._signals = signals
        self._wake_fd = wake_fd
        self._engine: Engine | None = None
        self._deadline: float | None = None
        self._orphaned = False
        self._recycled = False

    def run(self, board_fd: int) -> int:
        """Work until told to end; the exit code."""
        settings = self._settings
        app = find_app(settings.app)
        log.configure(settings.log_level, settings.log_format)
        board = Board.of(board_fd, settings.threads + settings.concurrency)
        engine = self._engine = Engine(app, settings, board)
        engine.on_over = lambda: os.write(self._wake_fd, b"\0")
        engine.exchange.on_enough = self._recycle
        gc.collect()
        gc.freeze()  # what the application's modules made stays: no collection need look through it again
        engine.start()
        self._link.say(control.READY)
        return self._listen(engine)

    def _listen(self, engine: Engine) -> int:
        with selectors.DefaultSelector() as selector:
            selector.register(self._link, selectors.EVENT_READ)
            selector.register(self._signals, selectors.EVENT_READ)
            while not engine.is_over():
                for key, _ in selector.select(self._pause_s()):
                    if key.fileobj is self._signals:
                        self._take_signals(engine)
                    else:
                        self._take_orders(engine, selector)
                self._weigh(engine)
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    return self._break_off(engine)
        return self._close(engine, whole=True)

    def _pause_s(self) -> float:
        if self._deadline is None:
            return WEIGH_S
        return min(max(self._deadline - time.monotonic(), 0.0), WEIGH_S)

    # -- orders ----------------------------------------------------------------------------------------------

    def _take_signals(self, engine: Engine) -> None:
        for number in self._signals.recv(4096):
            if number == signal.SIGTERM:
                self._end(self._settings.grace_s if self._deadline is None else 0.0)
            elif number == signal.SIGUSR1:
                self._show(engine)

    def _take_orders(self, engine: Engine, selector: selectors.BaseSelector) -> None:
        for order in self._link.hear():
            if order == control.DRAIN and self._deadline is None:
                self._end(self._settings.grace_s)
            elif order == control.NOW:
                self._end(0.0)
            elif order in {control.QUIET, control.RESUME}:
                engine.quiet(order == control.QUIET)
            elif order == control.STACKS:
                self._show(engine)
            elif order.startswith(control.STACKS_OF):
                order_id = json.loads(order.removeprefix(control.STACKS_OF))
                self._link.say(control.stacks_answer(order_id, stacks.describe(engine)))
            elif order.startswith(control.CANCEL):
                engine.cancel(*json.loads(order.removeprefix(control.CANCEL)))
        if self._link.closed and not self._orphaned:
            # Nobody keeps the lease alive any more: be gone, with everything given back, before it lapses.
            logger.error("the supervisor is gone; this worker process ends")
            self._orphaned = True
            selector.unregister(self._link)
            self._end(min(self._settings.grace_s, engine.app.settings.lease_s * _ORPHANS_SHARE_OF_LEASE))

    def _end(self, grace_s: float) -> None:
        engine = self._engine
        if engine is None:
            return
        self._deadline = min(time.monotonic() + grace_s, self._deadline or float("inf"))
        engine.drain()

    def _recycle(self) -> None:
        """Called by the exchange, which drains already, or when the process is too large."""
        self._recycled = True
        self._link.say(control.RECYCLE)

    @staticmethod
    def _show(engine: Engine) -> None:
        sys.stderr.write(stacks.describe(engine))
        sys.stderr.flush()

    def _weigh(self, engine: Engine) -> None:
        rss = resident_bytes()
        engine.board.words[RSS] = rss
        limit = self._settings.max_memory_mb * 1024 * 1024
        if 0 < limit < rss and not self._recycled and self._deadline is None:
            logger.warning("this process has grown to %d MB and is replaced", rss // (1024 * 1024))
            self._recycle()
            engine.drain()

    # -- the end ---------------------------------------------------------------------------------------------

    def _break_off(self, engine: Engine) -> int:
        running = engine.running()
        logger.warning("the grace is over: %d running jobs are broken off and given back", running)
        ended = engine.finish(release=self._orphaned)
        if not ended:
            logging.shutdown()
            # Threads that do not end cannot be waited for. What they hold is given back by the supervisor,
            # once we are gone.
            os._exit(exitcodes.BROKEN_OFF)
        return self._close(engine, whole=not running)

    def _close(self, engine: Engine, *, whole: bool) -> int:
        engine.close()
        if not whole:
            return exitcodes.BROKEN_OFF
        return exitcodes.RECYCLED if self._recycled else exitcodes.CLEAN


def resident_bytes() -> int:
    """How large this process is."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # no /proc: the peak has to do
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> int:
    """The process's whole life."""
    signals, signals_write = socket.socketpair()
    signals_write.setblocking(False)
    signal.set_wakeup_fd(signals_write.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, noted)
    for number in (signal.SIGINT, signal.SIGTSTP, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they come from a terminal; the supervisor decides

    link = Control(socket.socket(fileno=int(sys.argv[1])))
    lines: list[str] = []
    while not lines and not link.closed:
        lines = link.hear()
    if not lines:
        return exitcodes.BROKEN_OFF
    hello: dict[str, Any] = json.loads(lines[0])
    sys.path[:] = hello["path"]
    process = Process(link, WorkerSettings.from_json(hello["settings"]), signals, signals_write.fileno())
    try:
        return process.run(int(sys.argv[2]))
    except (AppNotFound, ConfigurationError) as error:
        sys.stderr.write(f"ferryman worker: {error}\n")
        return exitcodes.NO_APP


if __name__ == "__main__":
    sys.exit(main())
