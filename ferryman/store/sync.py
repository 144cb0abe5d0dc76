"""Carry transitions out over blocking connections.

A `Link` is one connection that speaks transitions, singly or pipelined. A `Lane` is a link with a name and a
sequence number, which is what makes a repeated enqueue harmless: Redis remembers the last number of each
lane. A `Pool` hands out lanes.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

import redis.exceptions as rx
from hiredis import pack_command

from ferryman.errors import FerrymanError, StoreError, StoreUnavailable
from ferryman.store.connection import Address, connect, explain
from ferryman.store.scripts import Script
from ferryman.store.transitions import Transition

R = TypeVar("R")
Operation = Generator[Any, Any, R]
"""Several steps written once for both faces: yields transitions or commands (tuples), is sent what they read,
returns the outcome.
"""


def packed(transition: Transition[Any], sha: str) -> bytes:
    """The request as it goes over the wire. redis-py's packer takes twice as long as hiredis alone."""
    request: bytes = pack_command(("EVALSHA", sha, len(transition.keys), *transition.keys, *transition.args))
    return request


class Link:
    """One connection. Not for two threads at once."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._connection = connect(address, timeout_s)
        self._shas: dict[Script, str] = {}

    def close(self) -> None:
        """Drop the connection; the next call opens a new one. Never raises."""
        self.discard()
        if self.address.kind == "embedded":
            with contextlib.suppress(FerrymanError):  # the next call says what is wrong
                self._connection = connect(self.address, self._timeout_s)

    def discard(self) -> None:
        """Drop the connection for good: as `close`, but an embedded server that has ended stays so."""
        with contextlib.suppress(Exception):
            self._connection.disconnect()

    def fileno(self) -> int:
        """The socket, to wait on. Raises `StoreUnavailable` if it is closed."""
        sock = self._connection._sock
        if sock is None:
            raise StoreUnavailable(f"Redis at {self.address}: the connection is closed")
        return int(sock.fileno())

    def command(self, *words: Any) -> Any:
        """Send one plain command and read its reply. Raises a `StoreError`."""
        try:
            self._connection.send_command(*words)
            return self._connection.read_response(disable_decoding=True)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def send(self, *words: Any) -> None:
        """Send one command and leave its reply for `receive`."""
        try:
            self._connection.send_command(*words)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def receive(self) -> Any:
        """The reply to what was sent first."""
        try:
            return self._connection.read_response(disable_decoding=True)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def has_more(self) -> bool:
        """Whether a reply can be received without waiting."""
        try:
            return bool(self._connection.can_read(0))
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def run(self, transition: Transition[R]) -> R:
        """Carry out one transition, once. Raises a `StoreError`."""
        script = transition.script
        sha = self._shas.get(script) or self._prepare(script)
        connection = self._connection
        try:
            connection.send_packed_command((packed(transition, sha),), check_health=False)
            reply = connection.read_response(disable_decoding=True)
        except (
            rx.NoScriptError
        ):  # the server restarted, or somebody flushed its scripts; nothing was carried out
            self._load(script)
            return self.run(transition)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        return transition.read(reply)

    def pipeline(self, transitions: Sequence[Transition[Any]]) -> list[Any]:
        """Carry out several transitions in one round trip, in order; a reply may be a `StoreError`, which is
        returned, not raised.

        Raises `StoreUnavailable` when the connection is lost: then nobody knows which were carried out, and
        the connection is closed, as replies may still be under way.
        """
        try:
            raw = self._exchange(transitions)
        except BaseException:
            self.close()
            raise
        replies: list[Any] = []
        for transition, reply in zip(transitions, raw, strict=True):
            try:
                if isinstance(reply, rx.NoScriptError):
                    self._load(transition.script)
                    replies.append(self.run(transition))
                elif isinstance(reply, rx.RedisError):
                    replies.append(explain(reply, self.address))
                else:
                    replies.append(transition.read(reply))
            except StoreUnavailable:
                raise
            except StoreError as error:
                replies.append(error)
        return replies

    def _exchange(self, transitions: Sequence[Transition[Any]]) -> list[Any]:
        """Send all, read all. Errors that the server answered with are among the replies."""
        connection = self._connection
        try:
            requests = [
                packed(transition, self._shas.get(transition.script) or self._prepare(transition.script))
                for transition in transitions
            ]
            connection.send_packed_command((b"".join(requests),), check_health=False)
            return [self._reply() for _ in transitions]
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def _reply(self) -> Any:
        try:
            return self._connection.read_response(disable_decoding=True)
        except rx.ConnectionError:
            raise
        except rx.ResponseError as error:
            return error

    def _prepare(self, script: Script) -> str:
        self._load(script)
        return self._shas[script]

    def _load(self, script: Script) -> None:
        """Make the script known to the server: with its flags if the server reads them (Redis 7, Valkey),
        else without.
        """
        try:
            self._connection.send_command("SCRIPT", "LOAD", script.flagged)
            self._connection.read_response()
            self._shas[script] = script.flagged_sha
        except rx.ResponseError as error:
            if isinstance(
                error, rx.NoPermissionError | rx.AuthenticationError | rx.OutOfMemoryError | rx.ReadOnlyError
            ):
                raise explain(error, self.address) from error
            self._load_plain(script)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def _load_plain(self, script: Script) -> None:
        try:
            self._connection.send_command("SCRIPT", "LOAD", script.plain)
            self._connection.read_response()
            self._shas[script] = script.plain_sha
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error


class Lane(Link):
    """A link of a producer. Its calls are serial, so Redis can tell a repeated one by its number."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        super().__init__(address, timeout_s)
        self.name = os.urandom(6).hex()
        self._last = 0

    def next_seq(self) -> int:
        """The number of the next enqueue on this lane."""
        self._last += 1
        return self._last


class Pool:
    """Lanes for the threads of one process. A forked child starts with none: two processes must not share a
    socket.
    """

    def __init__(self, address: Address, *, timeout_s: float, patience_s: float, most: int = 64) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._most = most
        self.forget()
        _pools.add(self)

    @contextlib.contextmanager
    def lane(self) -> Iterator[Lane]:
        """A lane for this thread alone. Waits if all are taken; raises `StoreUnavailable` after the pool's
        patience.
        """
        lane = self._take()
        try:
            yield lane
        except StoreError:
            raise
        except BaseException:
            lane.close()  # see `run`
            raise
        finally:
            self._give(lane)

    def _take(self) -> Lane:
        try:
            return self._free.pop()
        except IndexError:
            return self._take_slowly()

    def _take_slowly(self) -> Lane:
        """Open another connection, or wait for one if there are as many as there may be."""
        deadline = time.monotonic() + max(self._patience_s, self._timeout_s)
        with self._changed:
            self._waiting += 1  # before the look: who gives a lane back from now on says so
            try:
                while True:
                    if self._free:
                        with contextlib.suppress(IndexError):  # another thread may have been quicker
                            return self._free.pop()
                    if self._open < self._most:
                        lane = self._make()
                        self._open += 1
                        return lane
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise StoreUnavailable(
                            f"all {self._most} connections to Redis at {self.address} are taken"
                        )
                    self._changed.wait(left)
            finally:
                self._waiting -= 1

    def _make(self) -> Lane:
        return Lane(self.address, self._timeout_s)

    def _give(self, lane: Lane) -> None:
        self._free.append(lane)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def run(self, step: Transition[R] | Callable[[Lane], Transition[R]]) -> R:
        """Carry out a transition, again if the connection is lost and repeating does no harm, for as long as
        patience lasts.

        A callable makes the transition for the lane it runs on, as an enqueue needs.
        """
        lane = self._take()
        try:
            transition = step(lane) if callable(step) else step
            try:
                return lane.run(transition)
            except StoreUnavailable as error:
                if not transition.repeatable:
                    lane.close()
                    raise
                return self._again(lane, lambda: lane.run(transition), error)
        except StoreError:
            raise
        except BaseException:
            # Broken off (Ctrl-C, a task's time limit), perhaps between request and reply: the next call on
            # this connection would take that reply for its own.
            lane.close()
            raise
        finally:
            self._give(lane)

    def _again(self, lane: Lane, attempt: Callable[[], R], error: StoreUnavailable) -> R:
        deadline = time.monotonic() + self._patience_s
        pause = 0.02
        while time.monotonic() + pause < deadline:
            lane.close()
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(pause * 2, 0.5)
            try:
                return attempt()
            except StoreUnavailable as latest:
                error = latest
        lane.close()
        raise error

    def command(self, *words: Any) -> Any:
        """One plain command that reads, or that may be repeated; for as long as patience lasts."""
        with self.lane() as lane:
            try:
                return lane.command(*words)
            except StoreUnavailable as error:
                return self._again(lane, lambda: lane.command(*words), error)

    def drive(self, operation: Operation[R]) -> R:
        """Run an operation to its end."""
        reply: Any = None
        try:
            while True:
                step = operation.send(reply)
                reply = self.command(*step) if isinstance(step, tuple) else self.run(step)
        except StopIteration as end:
            result: R = end.value
            return result

    def close(self) -> None:
        """Close the connections that are free."""
        with self._changed:
            while self._free:
                with contextlib.suppress(IndexError):  # a thread that needs one may be quicker
                    self._free.pop().discard()
                    self._open -= 1

    def forget(self) -> None:
        """In a forked child: leave the parent's connections to the parent."""
        self._free: deque[Lane] = deque()
        self._open = 0
        self._waiting = 0
        self._changed = threading.Condition()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


os.register_at_fork(after_in_child=_forget_all)
