"""SAQ's side: runs in its own environment."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue

from benchmarks import probe
from benchmarks.producing import AsyncProducer, arguments
from benchmarks.systems.base import URL_VARIABLE

queue = Queue.from_url(os.environ[URL_VARIABLE], name="bench")
_OPTIONS: dict[str, Any] = {"retries": 3, "ttl": -1}


async def noop(context: dict[str, Any], *, number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


async def mark(context: dict[str, Any], *, index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)


settings = {"queue": queue, "functions": [noop, mark]}


class _Producer(AsyncProducer):
    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        await queue.connect()
        try:
            yield
        finally:
            await queue.disconnect()

    async def each(self, count: int) -> None:
        for at in range(count):
            number, name, amount = arguments(at)
            await queue.enqueue("noop", number=number, name=name, amount=amount, **_OPTIONS)

    async def mark(self, index: int) -> None:
        probe.sent(index)
        await queue.enqueue("mark", index=index, **_OPTIONS)

    async def mark_later(self, index: int, delay_s: float) -> None:
        # SAQ takes whole seconds: the nearest that it offers.
        probe.sent(index)
        await queue.enqueue("mark", index=index, scheduled=round(time.time() + delay_s), **_OPTIONS)

    async def later(self, count: int, delay_s: float) -> None:
        due = round(time.time() + delay_s)
        for at in range(count):
            number, name, amount = arguments(at)
            await queue.enqueue("noop", number=number, name=name, amount=amount, scheduled=due, **_OPTIONS)


PRODUCER = _Producer()
