"""How a system's jobs are enqueued: the classes an adapter's `app` module derives its `PRODUCER` from.

Imported inside every rival's environment: standard library only. An adapter gives the loops in the system's
own idiom, so that neither the harness nor an `await` that the system does not need stands between two calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BULK = 500
"""Jobs handed over by one bulk call."""

Arguments = tuple[int, str, float]


def arguments(number: int) -> Arguments:
    """The three small arguments of a no-op job."""
    return number, "account", 2.5


def chunks(count: int) -> list[range]:
    """`range(count)` cut into bulk calls."""
    return [range(at, min(at + BULK, count)) for at in range(0, count, BULK)]


class SyncProducer:
    """Enqueues with blocking calls. What a system has no call for stays as it is here and is not measured."""

    def each(self, count: int) -> None:
        """Enqueue that many no-op jobs, one call a job, each call returning once Redis has the job."""
        raise NotImplementedError

    def bulk(self, count: int) -> None:
        """Enqueue that many no-op jobs by the system's documented bulk call."""
        raise NotImplementedError

    def mark(self, index: int) -> None:
        """Enqueue the job of one latency sample, noting the moment just before the call."""
        raise NotImplementedError

    def mark_later(self, index: int, delay_s: float) -> None:
        """Like `mark`, but due after `delay_s` seconds."""
        raise NotImplementedError

    def later(self, count: int, delay_s: float) -> None:
        """Enqueue that many no-op jobs that are due after `delay_s` seconds."""
        raise NotImplementedError


class AsyncProducer:
    """The same with coroutines, all run by one event loop inside `connected()`."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Open and close what the system's enqueue calls need."""
        yield

    async def each(self, count: int) -> None:
        """See `SyncProducer.each`: one awaited call after the other."""
        raise NotImplementedError

    async def bulk(self, count: int) -> None:
        """See `SyncProducer.bulk`."""
        raise NotImplementedError

    async def mark(self, index: int) -> None:
        """See `SyncProducer.mark`."""
        raise NotImplementedError

    async def mark_later(self, index: int, delay_s: float) -> None:
        """See `SyncProducer.mark_later`."""
        raise NotImplementedError

    async def later(self, count: int, delay_s: float) -> None:
        """See `SyncProducer.later`."""
        raise NotImplementedError
