"""Waiting for results: one connection a process, however many threads and coroutines wait, and no polling.

The acknowledging script publishes the ids of jobs that ended; a daemon thread hears them and wakes whoever
waits for that id. Published messages can be lost (a reconnect), so a waiter always looks at the job itself:
once after it has subscribed, after each reconnect, and every few seconds in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ferryman import ids
from ferryman.errors import StoreError, StoreUnavailable
from ferryman.job import not_found, raise_for, timed_out
from ferryman.store import Link
from ferryman.store.sync import Operation

if TYPE_CHECKING:
    from ferryman.app import Ferryman

_LOOK_AGAIN_S = 5.0
_SILENCE_S = 10.0
"""After so long without a word the listening connection is asked whether it lives."""
_MEMORY_LOOK_AGAIN_S = 0.005  # memory:// has no socket to wait on; it is for tests
_PENDING = object()


class Listener:
    """Wakes those who wait for a job's end."""

    def __init__(self, app: Ferryman) -> None:
        self._app = app
        self._in_memory = app.store.address.kind == "memory"
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiters: dict[tuple[str, str], list[Callable[[], None]]] = {}
        self._channels: dict[str, threading.Event] = {}
        self._asked: list[str] = []
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1

    # -- the two faces ---------------------------------------------------------------------------------------

    def wait(self, local: str, queue: str, timeout: float | None) -> Any:
        """Block until the job has ended; see `Job.result`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        value = self._app.store.drive(self._look(local, queue))
        if value is not _PENDING:
            return value
        ended = threading.Event()
        with self._listening(local, queue, ended.set) as subscribed:
            subscribed.wait(self._pause(deadline))
            while True:
                ended.clear()
                value = self._app.store.drive(self._look(local, queue))
                if value is not _PENDING:
                    return value
                if deadline is not None and time.monotonic() >= deadline:
                    raise timed_out(ids.join(local, queue), timeout)
                ended.wait(self._pause(deadline))

    async def await_(self, local: str, queue: str, timeout: float | None) -> Any:
        """As `wait`, on the running event loop."""
        deadline = None if timeout is None else time.monotonic() + timeout
        value = await self._app.store.adrive(self._look(local, queue))
        if value is not _PENDING:
            return value
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(ended.set)

        with self._listening(local, queue, wake):
            while True:
                ended.clear()
                value = await self._app.store.adrive(self._look(local, queue))
                if value is not _PENDING:
                    return value
                if deadline is not None and time.monotonic() >= deadline:
                    raise timed_out(ids.join(local, queue), timeout)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), self._pause(deadline))

    def _look(self, local: str, queue: str) -> Operation[Any]:
        """The job's result, its failure raised, or `_PENDING`."""
        located = yield self._app.lookup.locating(local, queue)
        if located.place not in ("gone", "dead"):
            return _PENDING
        if located.place == "gone" and located.result is None:
            raise not_found(ids.join(local, queue))
        info = self._app.lookup.describe(local, queue, located)
        if info.state == "succeeded":
            return self._app.lookup.value_of(located.result)
        raise_for(info)
        return _PENDING

    def _pause(self, deadline: float | None) -> float:
        longest = _MEMORY_LOOK_AGAIN_S if self._in_memory else _LOOK_AGAIN_S
        return longest if deadline is None else max(min(deadline - time.monotonic(), longest), 0.0)

    # -- the listening thread --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _listening(self, local: str, queue: str, wake: Callable[[], None]) -> Any:
        if self._pid != os.getpid():
            self._reset()  # a forked child: the thread and the connection stayed with the parent
        key = (queue, local)
        with self._lock:
            self._waiters.setdefault(key, []).append(wake)
            subscribed = self._subscribe(self._app.store.keys(queue).done)
        try:
            yield subscribed
        finally:
            with self._lock:
                wakes = self._waiters[key]
                wakes.remove(wake)
                if not wakes:
                    del self._waiters[key]

    def _subscribe(self, channel: str) -> threading.Event:
        subscribed = self._channels.get(channel)
        if subscribed is None:
            subscribed = self._channels[channel] = threading.Event()
            if self._in_memory:
                subscribed.set()
                return subscribed
            self._asked.append(channel)
            if self._thread is None:
                self._wake_read, self._wake_write = os.pipe()
                self._thread = threading.Thread(target=self._run, name="ferryman-results", daemon=True)
                self._thread.start()
            else:
                os.write(self._wake_write, b"!")
        return subscribed

    def _run(self) -> None:
        pause = 0.05
        while True:
            link = self._app.store.link()
            try:
                link.command("PING")
                pause = 0.05
                self._hear(link)
            except (StoreError, OSError):
                with self._lock:
                    for subscribed in self._channels.values():
                        subscribed.clear()
                time.sleep(pause)
                pause = min(pause * 2, 2.0)
            finally:
                link.close()

    def _hear(self, link: Link) -> None:
        with self._lock:
            self._asked = list(self._channels)
        poll = select.poll()
        poll.register(link.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        heard_at, asked_at = time.monotonic(), 0.0
        while True:
            with self._lock:
                asked, self._asked = self._asked, []
            if asked:
                link.send("SUBSCRIBE", *asked)
            until = asked_at + self._app.store.timeout_s if asked_at else heard_at + _SILENCE_S
            found = [fd for fd, _ in poll.poll(max(0.0, (until - time.monotonic()) * 1000))]
            if self._wake_read in found:
                os.read(self._wake_read, 4096)
            if link.fileno() in found:
                self._take(link)
                heard_at, asked_at = time.monotonic(), 0.0
            elif time.monotonic() >= until:
                # A connection that is half open takes whatever is sent, and never says a word.
                if asked_at:
                    raise StoreUnavailable("Redis has fallen silent: a connection to it is dead")
                link.send("PING")
                asked_at = time.monotonic()

    def _take(self, link: Link) -> None:
        """Read what has come, all of it: more than one message may arrive in one piece."""
        while True:
            kind, *rest = link.receive()
            if kind == b"subscribe":
                self._wake_all(rest[0].decode())
            elif kind == b"message":
                queue = rest[0].decode().partition("{")[2].partition("}")[0]
                for local in rest[1].decode().split(" "):
                    self._wake(queue, local)
            if not link.has_more():
                return

    def _wake(self, queue: str, local: str) -> None:
        with self._lock:
            wakes = list(self._waiters.get((queue, local), ()))
        for wake in wakes:
            wake()

    def _wake_all(self, channel: str) -> None:
        """A subscription has begun: what was published before it was not heard, so everybody looks again."""
        with self._lock:
            wakes = [wake for wakes in self._waiters.values() for wake in wakes]
            self._channels[channel].set()
        for wake in wakes:
            wake()
