"""taskiq's side: runs in its own environment."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq_redis import RedisStreamBroker

from benchmarks import probe
from benchmarks.producing import AsyncProducer, arguments
from benchmarks.systems.base import URL_VARIABLE

broker = RedisStreamBroker(os.environ[URL_VARIABLE], queue_name="bench")


@broker.task
async def noop(number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


@broker.task
async def mark(index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)


class _Producer(AsyncProducer):
    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        await broker.startup()
        try:
            yield
        finally:
            await broker.shutdown()

    async def each(self, count: int) -> None:
        for number in range(count):
            await noop.kiq(*arguments(number))

    async def mark(self, index: int) -> None:
        probe.sent(index)
        await mark.kiq(index)


PRODUCER = _Producer()
