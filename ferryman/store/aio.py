"""Carry transitions out over asyncio connections: the other face of `ferryman.store.sync`, with no rule of
its own.

Connections belong to the event loop that opened them; a pool keeps a set for each loop, which goes when the
loop does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import redis.asyncio.connection as aio_connection
import redis.connection as sync_connection
import redis.exceptions as rx
from redis.asyncio.retry import Retry as RedisRetry
from redis.backoff import NoBackoff

from ferryman.errors import FerrymanError, StoreError, StoreUnavailable
from ferryman.store.connection import Address, explain, options_of
from ferryman.store.scripts import Script
from ferryman.store.sync import Lane, Operation, Pool
from ferryman.store.transitions import Transition

R = TypeVar("R")

_KINDS: dict[type, type[aio_connection.AbstractConnection]] = {
    sync_connection.Connection: aio_connection.Connection,
    sync_connection.SSLConnection: aio_connection.SSLConnection,
    sync_connection.UnixDomainSocketConnection: aio_connection.UnixDomainSocketConnection,
}


def _connect(address: Address, timeout_s: float) -> aio_connection.AbstractConnection:
    options = options_of(address, timeout_s)
    kind = options.pop("connection_class", sync_connection.Connection)
    return _KINDS[kind](retry=RedisRetry(NoBackoff(), 0), **options)


class AsyncLane:
    """One connection with a name and a sequence number, as `ferryman.store.sync.Lane`."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.name = os.urandom(6).hex()
        self._last = 0
        self._timeout_s = timeout_s
        self._connection = _connect(address, timeout_s)
        self._shas: dict[Script, str] = {}

    def next_seq(self) -> int:
        """The number of the next enqueue on this lane."""
        self._last += 1
        return self._last

    async def close(self) -> None:
        """Drop the connection; the next call opens a new one. Never raises."""
        await self.discard()
        if self.address.kind == "embedded":
            with contextlib.suppress(FerrymanError):  # the next call says what is wrong
                self._connection = await asyncio.to_thread(_connect, self.address, self._timeout_s)

    async def discard(self) -> None:
        """Drop the connection for good: as `close`, but an embedded server that has ended stays so."""
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)

    async def command(self, *words: Any) -> Any:
        """Send one plain command and read its reply. Raises a `StoreError`."""
        try:
            return await self._call(*words)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    async def run(self, transition: Transition[R]) -> R:
        """Carry out one transition, once. Raises a `StoreError`."""
        script = transition.script
        try:
            sha = self._shas.get(script) or await self._load(script)
            reply = await self._call("EVALSHA", sha, len(transition.keys), *transition.keys, *transition.args)
        except rx.NoScriptError:
            del self._shas[script]
            return await self.run(transition)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        return transition.read(reply)

    async def _call(self, *words: Any) -> Any:
        await self._connection.send_command(*words)
        return await self._connection.read_response(disable_decoding=True)

    async def _load(self, script: Script) -> str:
        try:
            await self._call("SCRIPT", "LOAD", script.flagged)
            sha = script.flagged_sha
        except rx.ResponseError as error:
            if isinstance(
                error, rx.NoPermissionError | rx.AuthenticationError | rx.OutOfMemoryError | rx.ReadOnlyError
            ):
                raise
            await self._call("SCRIPT", "LOAD", script.plain)
            sha = script.plain_sha
        self._shas[script] = sha
        return sha


class _PerLoop:
    """The lanes of one event loop."""

    def __init__(self, most: int) -> None:
        self.free: list[AsyncLane] = []
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
    async def lane(self) -> AsyncIterator[AsyncLane]:
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

    async def _make(self) -> AsyncLane:
        if self.address.kind == "embedded":  # may have to start the server
            return await asyncio.to_thread(AsyncLane, self.address, self._timeout_s)
        return AsyncLane(self.address, self._timeout_s)

    async def run(self, step: Transition[R] | Callable[[Any], Transition[R]]) -> R:
        """As `Pool.run`."""
        async with self.lane() as lane:
            transition = step(lane) if callable(step) else step
            try:
                return await lane.run(transition)
            except StoreUnavailable as error:
                if not transition.repeatable:
                    await lane.close()
                    raise
                return await self._again(lane, lambda: lane.run(transition), error)

    async def _again(
        self, lane: AsyncLane, attempt: Callable[[], Awaitable[R]], error: StoreUnavailable
    ) -> R:
        deadline = time.monotonic() + self._patience_s
        pause = 0.02
        while time.monotonic() + pause < deadline:
            await lane.close()
            await asyncio.sleep(random.uniform(pause / 2, pause))
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

    async def run(self, step: Transition[R] | Callable[[Lane], Transition[R]]) -> R:
        return self._pool.run(step)

    async def command(self, *words: Any) -> Any:
        return self._pool.command(*words)

    async def close(self) -> None:
        self._pool.close()
