"""arq's side: runs in its own environment."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from arq import ArqRedis, create_pool
from arq.connections import RedisSettings

from benchmarks import probe
from benchmarks.producing import AsyncProducer, arguments
from benchmarks.systems.base import URL_VARIABLE

_SETTINGS = RedisSettings.from_dsn(os.environ[URL_VARIABLE])

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"arq": {"level": "WARNING"}},
}


async def noop(context: dict[str, Any], number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


async def mark(context: dict[str, Any], index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)


class WorkerSettings:
    """What `arq` reads."""

    functions: ClassVar = [noop, mark]
    redis_settings = _SETTINGS
    poll_delay = 0.05
    keep_result = 0


class _Producer(AsyncProducer):
    _redis: ArqRedis

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        self._redis = await create_pool(_SETTINGS)
        try:
            yield
        finally:
            await self._redis.aclose()

    async def each(self, count: int) -> None:
        for number in range(count):
            await self._redis.enqueue_job("noop", *arguments(number))

    async def mark(self, index: int) -> None:
        probe.sent(index)
        await self._redis.enqueue_job("mark", index)

    async def mark_later(self, index: int, delay_s: float) -> None:
        probe.sent(index)
        await self._redis.enqueue_job("mark", index, _defer_by=delay_s)

    async def later(self, count: int, delay_s: float) -> None:
        for number in range(count):
            await self._redis.enqueue_job("noop", *arguments(number), _defer_by=delay_s)


PRODUCER = _Producer()
