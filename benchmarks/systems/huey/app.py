"""Huey's side: runs in its own environment."""

import os

from huey import RedisHuey

from benchmarks import probe
from benchmarks.producing import SyncProducer, arguments
from benchmarks.systems.base import URL_VARIABLE

huey = RedisHuey("bench", url=os.environ[URL_VARIABLE], results=False)


@huey.task()
def noop(number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


@huey.task()
def mark(index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)


class _Producer(SyncProducer):
    def each(self, count: int) -> None:
        for number in range(count):
            noop(*arguments(number))

    def mark(self, index: int) -> None:
        probe.sent(index)
        mark(index)

    def mark_later(self, index: int, delay_s: float) -> None:
        probe.sent(index)
        mark.schedule(args=(index,), delay=delay_s)

    def later(self, count: int, delay_s: float) -> None:
        for number in range(count):
            noop.schedule(args=arguments(number), delay=delay_s)


PRODUCER = _Producer()
