"""Carry transitions out over asyncio connections: the other face of `ferryman.store.sync`, with no rule of
its own.

Connections belong to the event loop that opened them; a pool keeps a set for each loop, which goes when the
loop does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from ferryman import chance
from ferryman.errors import NotDurable, StoreError, StoreUnavailable
from ferryman.store.address import Address
from ferryman.store.aio_cluster import AsyncClusterLane
from ferryman.store.aio_link import AsyncLane
from ferryman.store.durability import Durability
from ferryman.store.sync import BROKEN_BETWEEN, Operation, Pool
from ferryman.store.transitions import Transition

R = TypeVar("R")
Awaited = Callable[[Transition[Any]], Awaitable[Any]]


class _PerLoop:
    """The lanes of one event loop."""

    def __init__(self, most: int) -> None:
        self.free: list[AsyncLane | AsyncClusterLane] = []
        self.permits = asyncio.Semaphore(most)
        self.pid = os.getpid()
        self.end = self._until_the_loop_ends()

    async def _until_the_loop_ends(self) -> AsyncGenerator[None]:
        # `asyncio.run` closes the generators that are still open before it closes the loop: the last moment
        # at which this loop's connections can be closed in good order.
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        while self.free:
            await self.free.pop().discard()


class AsyncPool:
    """Lanes for the coroutines of a process, kept apart by event loop."""

    def __init__(self, address: Address, *, timeout_s: float, patience_s: float, most: int = 64) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._most = most
        self._loops: dict[asyncio.AbstractEventLoop, _PerLoop] = {}

    async def _here(self) -> _PerLoop:
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None or found.pid != os.getpid():
            for other in [other for other in self._loops if other.is_closed()]:
                # Not left to a weak dictionary: its connections hold a loop for as long as they are held.
                self._loops.pop(other, None)
            found = self._loops[loop] = _PerLoop(self._most)
            await anext(found.end)
        return found

    @contextlib.asynccontextmanager
    async def lane(self) -> AsyncIterator[AsyncLane | AsyncClusterLane]:
        """A lane for this coroutine alone."""
        here = await self._here()
        async with here.permits:
            lane = here.free.pop() if here.free else await self._make()
            try:
                yield lane
            except StoreError:
                raise
            except BaseException:
                await lane.discard()  # broken off: a reply may be under way to nobody
                raise
            finally:
                here.free.append(lane)

    async def _make(self) -> AsyncLane | AsyncClusterLane:
        if self.address.kind == "embedded":  # may have to start the server
            return await asyncio.to_thread(AsyncLane, self.address, self._timeout_s)
        kind = AsyncClusterLane if self.address.kind == "cluster" else AsyncLane
        return kind(self.address, self._timeout_s)

    async def run(self, transition: Transition[R], durability: Durability | None = None) -> R:
        """As `Pool.run`."""
        async with self.lane() as lane:
            return await self._carry_out(lane, transition, durability)

    async def _carry_out(
        self,
        lane: AsyncLane | AsyncClusterLane,
        transition: Transition[R],
        durability: Durability | None = None,
    ) -> R:
        if transition.numbered:
            lane.number(transition)
        try:
            return await lane.run(transition, durability)
        except StoreUnavailable as error:
            if not transition.repeatable:
                await lane.close()
                raise
            return await self._again(lane, lambda: lane.run(transition, durability), error)

    @contextlib.asynccontextmanager
    async def together(self, durability: Durability | None) -> AsyncIterator[Awaited]:
        """As `Pool.together`."""
        if durability is None:
            yield self.run
            return
        async with self.lane() as lane:
            await lane.begin(durability)
            breaks = lane.breaks
            yield lambda transition: self._carry_out(lane, transition)
            if lane.breaks != breaks:
                raise NotDurable(BROKEN_BETWEEN)
            await lane.confirm(durability)

    async def _again(
        self, lane: AsyncLane | AsyncClusterLane, attempt: Callable[[], Awaitable[R]], error: StoreUnavailable
    ) -> R:
        deadline = time.monotonic() + self._patience_s
        pause = 0.02
        while time.monotonic() + pause < deadline:
            await lane.close()
            await asyncio.sleep(chance.between(pause / 2, pause))
            pause = min(pause * 2, 0.5)
            try:
                return await attempt()
            except StoreUnavailable as latest:
                error = latest
        await lane.close()
        raise error

    async def command(self, *words: Any) -> Any:
        """As `Pool.command`."""
        async with self.lane() as lane:
            try:
                return await lane.command(*words)
            except StoreUnavailable as error:
                return await self._again(lane, lambda: lane.command(*words), error)

    async def drive(self, operation: Operation[R]) -> R:
        """As `Pool.drive`."""
        reply: Any = None
        try:
            while True:
                step = operation.send(reply)
                reply = await self.command(*step) if isinstance(step, tuple) else await self.run(step)
        except StopIteration as end:
            result: R = end.value
            return result

    async def close(self) -> None:
        """Close this loop's free connections."""
        await (await self._here()).close()


class InlineAsyncPool(AsyncPool):
    """The asyncio face of a store that lives in this process: there is nothing to wait for."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.address, timeout_s=0, patience_s=0)
        self._pool = pool

    async def run(self, transition: Transition[R], durability: Durability | None = None) -> R:
        return self._pool.run(transition, durability)

    @contextlib.asynccontextmanager
    async def together(self, durability: Durability | None) -> AsyncIterator[Awaited]:
        yield lambda transition: self.run(transition, durability)

    async def command(self, *words: Any) -> Any:
        return self._pool.command(*words)

    async def close(self) -> None:
        self._pool.close()
