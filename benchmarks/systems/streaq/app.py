"""streaq's side: runs in its own environment."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from streaq import Worker

from benchmarks import probe
from benchmarks.producing import AsyncProducer, arguments, chunks
from benchmarks.systems.base import URL_VARIABLE

worker = Worker(redis_url=os.environ[URL_VARIABLE], queue_name="bench", concurrency=32)


@worker.task(ttl=0, silent=True)
async def noop(number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


@worker.task(ttl=0, silent=True)
async def mark(index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)


class _Producer(AsyncProducer):
    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        async with worker:
            yield

    async def each(self, count: int) -> None:
        for number in range(count):
            await noop.enqueue(*arguments(number))

    async def bulk(self, count: int) -> None:
        for chunk in chunks(count):
            await worker.enqueue_many([noop.enqueue(*arguments(number)) for number in chunk])

    async def mark(self, index: int) -> None:
        probe.sent(index)
        await mark.enqueue(index)

    async def mark_later(self, index: int, delay_s: float) -> None:
        probe.sent(index)
        await mark.enqueue(index).start(delay=timedelta(seconds=delay_s))

    async def later(self, count: int, delay_s: float) -> None:
        delay = timedelta(seconds=delay_s)
        for chunk in chunks(count):
            await worker.enqueue_many(
                [noop.enqueue(*arguments(number)).start(delay=delay) for number in chunk]
            )


PRODUCER = _Producer()
