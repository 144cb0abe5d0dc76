"""Carry transitions out over blocking connections: a pool of lanes for the threads of a process."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

from ferryman import chance
from ferryman.errors import NotDurable, StoreError, StoreUnavailable
from ferryman.store.address import Address
from ferryman.store.cluster import ClusterLane
from ferryman.store.durability import Durability
from ferryman.store.link import Lane, Link, drop_inherited
from ferryman.store.transitions import Transition

R = TypeVar("R")
Operation = Generator[Any, Any, R]
"""Several steps written once for both faces: yields transitions or commands (tuples), is sent what they read,
returns the outcome.
"""

BROKEN_BETWEEN = (
    "the connection broke while jobs were handed over, so nobody knows whether the first of them were safe"
)


def drive(carrier: Link | Pool, operation: Operation[R]) -> R:
    """Run an operation to its end: over one connection, each step once, or over those of a pool. Raises a
    `StoreError`.
    """
    reply: Any = None
    try:
        while True:
            step = operation.send(reply)
            reply = carrier.command(*step) if isinstance(step, tuple) else carrier.run(step)
    except StopIteration as end:
        result: R = end.value
        return result


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
    def lane(self) -> Iterator[Lane | ClusterLane]:
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

    def _take(self) -> Lane | ClusterLane:
        if self._pid != os.getpid():
            _forget_all()
        try:
            return self._free.pop()
        except IndexError:
            return self._take_slowly()

    def _take_slowly(self) -> Lane | ClusterLane:
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

    def _make(self) -> Lane | ClusterLane:
        kind = ClusterLane if self.address.kind == "cluster" else Lane
        return kind(self.address, self._timeout_s)

    def _give(self, lane: Lane | ClusterLane) -> None:
        self._free.append(lane)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def run(self, transition: Transition[R], durability: Durability | None = None) -> R:
        """Carry out a transition, again if the connection is lost and repeating does no harm, for as long as
        patience lasts; with a durability, see `Link.run`.
        """
        if self._pid != os.getpid():
            _forget_all()
        try:  # as `lane` does it, at half its cost: this is the way of every single enqueue
            lane = self._free.pop()
        except IndexError:
            lane = self._take_slowly()
        try:
            return self._carry_out(lane, transition, durability)
        except StoreError:
            raise
        except BaseException:
            # Broken off (Ctrl-C, a task's time limit), perhaps between request and reply: the next call on
            # this connection would take that reply for its own.
            lane.close()
            raise
        finally:
            self._free.append(lane)
            if self._waiting:
                with self._changed:
                    self._changed.notify()

    def _carry_out(
        self, lane: Lane | ClusterLane, transition: Transition[R], durability: Durability | None = None
    ) -> R:
        if transition.numbered:
            lane.number(transition)
        try:
            return lane.run(transition, durability)
        except StoreUnavailable as error:
            if not transition.repeatable:
                lane.close()
                raise
            return self._again(lane, lambda: lane.run(transition, durability), error)

    @contextlib.contextmanager
    def together(self, durability: Durability | None) -> Iterator[Callable[[Transition[Any]], Any]]:
        """Carry out several transitions whose durability is asked for once, at the end.

        Raises `NotDurable` also if the connection broke in between: who answers then need not be who had
        taken the first of them.
        """
        if durability is None:
            yield self.run
            return
        with self.lane() as lane:
            lane.begin(durability)
            breaks = lane.breaks
            yield lambda transition: self._carry_out(lane, transition)
            if lane.breaks != breaks:
                raise NotDurable(BROKEN_BETWEEN)
            lane.confirm(durability)

    def _again(self, lane: Lane | ClusterLane, attempt: Callable[[], R], error: StoreUnavailable) -> R:
        deadline = time.monotonic() + self._patience_s
        pause = 0.02
        while time.monotonic() + pause < deadline:
            lane.close()
            time.sleep(chance.between(pause / 2, pause))
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
        return drive(self, operation)

    def close(self) -> None:
        """Close the connections that are free."""
        with self._changed:
            while self._free:
                with contextlib.suppress(IndexError):  # a thread that needs one may be quicker
                    self._free.pop().discard()
                    self._open -= 1

    def forget(self) -> None:
        """In a forked child: leave the parent's connections to the parent."""
        self._free: deque[Lane | ClusterLane] = deque()
        self._open = 0
        self._waiting = 0
        self._changed = threading.Condition()
        self._pid = os.getpid()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forget_all() -> None:
    """Also called by the first use in a new process: uWSGI forks in C and by default calls no hooks."""
    for pool in list(_pools):
        pool.forget()
    drop_inherited()


os.register_at_fork(after_in_child=_forget_all)
