"""The only code that speaks to Redis.

`transitions` and `inspection` describe each atomic step of a job's life; `lua/` holds the scripts; `sync` and
`aio` carry a step out, over a `link` to one server or a `cluster` of them. `Store` is one configured place
where jobs are kept.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

from ferryman.store.address import Address, parse
from ferryman.store.aio import AsyncPool, InlineAsyncPool
from ferryman.store.cluster import ClusterLink
from ferryman.store.connection import Redirected
from ferryman.store.durability import Durability
from ferryman.store.keys import FleetKeys, QueueKeys
from ferryman.store.link import Lane, Link
from ferryman.store.sync import Operation, Pool
from ferryman.store.transitions import Transition

__all__ = ["Address", "Durability", "Lane", "Link", "Pool", "Redirected", "Store", "Transition"]

R = TypeVar("R")
_CLOCK_TRUST_S = 60.0


class Store:
    """Where an app's jobs are kept: the address, the key names, the connections and the server's clock."""

    def __init__(self, url: str, *, prefix: str, timeout_s: float, patience_s: float) -> None:
        self.address = parse(url)
        self.prefix = prefix
        self.timeout_s = timeout_s
        self.fleet_keys = FleetKeys(prefix)
        self._keys: dict[str, QueueKeys] = {}
        self.pool: Pool
        self.apool: AsyncPool
        if self.address.kind == "memory":
            from ferryman.store.memory import MemoryPool

            self.pool = MemoryPool(self.address, timeout_s=timeout_s, patience_s=patience_s)
            self.apool = InlineAsyncPool(self.pool)
        else:
            self.pool = Pool(self.address, timeout_s=timeout_s, patience_s=patience_s)
            self.apool = AsyncPool(self.address, timeout_s=timeout_s, patience_s=patience_s)
        self._offset_ms = 0.0
        self._synced_at = float("-inf")

    def keys(self, queue: str) -> QueueKeys:
        """The keys of a queue, whose name has been checked."""
        found = self._keys.get(queue)
        if found is None:
            found = self._keys[queue] = QueueKeys(self.prefix, queue)
        return found

    def link(self) -> Link:
        """A connection of its own for one thread; it is opened when it is first used."""
        return (ClusterLink if self.is_cluster else Link)(self.address, self.timeout_s)

    @property
    def is_cluster(self) -> bool:
        """Whether queues live on different servers."""
        return self.address.kind == "cluster"

    def run(self, transition: Transition[R]) -> R:
        """Carry out a transition; see `Pool.run`."""
        return self.pool.run(transition)

    async def arun(self, transition: Transition[R]) -> R:
        """Carry out a transition on the running event loop."""
        return await self.apool.run(transition)

    def drive(self, operation: Operation[R]) -> R:
        """Run an operation of several steps."""
        return self.pool.drive(operation)

    async def adrive(self, operation: Operation[R]) -> R:
        """Run an operation of several steps on the running event loop."""
        return await self.apool.drive(operation)

    # The server's clock is the clock. It is read once a minute; between, this process's monotonic clock
    # carries it on, which does not jump when somebody sets the host's time.

    def clock_is_known(self) -> bool:
        """Whether `server_ms` can answer without a round trip."""
        return time.monotonic() - self._synced_at < _CLOCK_TRUST_S

    def server_ms(self) -> int:
        """The server's time in ms since the epoch, to within half a round trip. May cost a round trip, at
        most once a minute.
        """
        if time.monotonic() - self._synced_at >= _CLOCK_TRUST_S:
            # Without a lock: threads that come at once ask at once, and a fork finds nothing locked.
            before = time.monotonic()
            self.learn_clock(self._now(self.pool.command("TIME")), before)
        return int(time.monotonic() * 1000 + self._offset_ms)

    async def aserver_ms(self) -> int:
        """As `server_ms`, on the running event loop."""
        return await self.adrive(self.clock())

    def clock(self) -> Operation[int]:
        """`server_ms` as an operation, for use inside others."""
        if not self.clock_is_known():
            before = time.monotonic()
            reply = yield ("TIME",)
            self.learn_clock(self._now(reply), before)
        return int(time.monotonic() * 1000 + self._offset_ms)

    def learn_clock(self, server_ms: float, asked_at: float) -> None:
        """Take the server's time from a reply to what was sent at `asked_at` (monotonic seconds)."""
        now = time.monotonic()
        self._offset_ms = server_ms - (asked_at + now) / 2 * 1000
        self._synced_at = now

    def _now(self, reply: Any) -> float:
        moved = getattr(self.pool, "now_ms", None)
        return float(moved()) if moved else int(reply[0]) * 1000 + int(reply[1]) / 1000

    def forget_clock(self) -> None:
        """Ask the server again at the next need (a test has moved the clock)."""
        self._synced_at = float("-inf")

    def close(self) -> None:
        """Close the blocking face's free connections, and leave an embedded server to its other users."""
        self.pool.close()
        self.address.release()
