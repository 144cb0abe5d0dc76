"""Hears at once that somebody wants something of this fleet: a thread with one subscribed connection.

What it hears is only a reason to look, never the order itself. Orders are kept in Redis, where the heart
reads them with each beat: so a message that is lost costs a few seconds, and one that is forged nothing.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ferryman import chance
from ferryman.errors import StoreError
from ferryman.store import Link

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.worker")

_PING_S = 30.0
_LONGEST_PAUSE_S = 2.0


class Ear:
    """Calls `look` when a message names one of `names()`, and whenever messages may have been missed."""

    def __init__(
        self,
        app: Ferryman,
        channels: Sequence[str],
        names: Callable[[], Sequence[str]],
        look: Callable[[], None],
    ) -> None:
        self._app = app
        self._channels = channels
        self._names = names
        self._look = look
        self._stop_read, self._stop_write = os.pipe()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ferryman-ear", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Listen no more."""
        self._stopping.set()
        os.write(self._stop_write, b"\0")
        self._thread.join(timeout)
        if not self._thread.is_alive():
            os.close(self._stop_read)
            os.close(self._stop_write)

    def _run(self) -> None:
        pause_s, told = 0.05, False
        link = self._app.store.link()
        while not self._stopping.is_set():
            try:
                link.send("SUBSCRIBE", *self._channels)
                link.receive()
                pause_s, told = 0.05, False
                self._listen(link)
            except (StoreError, OSError) as error:
                if not told:  # without it all goes on, and what is asked for is found with the next beat
                    logger.debug("orders are heard only every few seconds at the moment: %s", error)
                    told = True
            except Exception:
                logger.exception("the ear met an error of its own, and goes on")
            link.close()
            self._stopping.wait(chance.between(pause_s / 2, pause_s))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        link.close()

    def _listen(self, link: Link) -> None:
        self._look()  # nobody listened until now
        poll = select.poll()
        poll.register(link.fileno(), select.POLLIN)
        poll.register(self._stop_read, select.POLLIN)
        unanswered = False
        while not self._stopping.is_set():
            if poll.poll(_PING_S * 1000):
                if not self._stopping.is_set():
                    unanswered = False
                    self._take(link)
            elif unanswered:
                return  # a connection that is half open must not be believed for ever
            else:
                link.send("PING")
                unanswered = True

    def _take(self, link: Link) -> None:
        """Read what has come; of a hundred messages at once, one is enough to look."""
        called = False
        while True:
            kind, *rest = link.receive()
            called = called or (kind == b"message" and rest[1].decode(errors="replace") in self._names())
            if not link.has_more():
                break
        if called:
            self._look()
