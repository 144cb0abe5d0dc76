"""Dramatiq's side: runs in its own environment."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks import probe
from benchmarks.producing import SyncProducer, arguments
from benchmarks.systems.base import URL_VARIABLE

dramatiq.set_broker(RedisBroker(url=os.environ[URL_VARIABLE]))


@dramatiq.actor(queue_name="bench")
def noop(number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


@dramatiq.actor(queue_name="bench")
def mark(index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)


class _Producer(SyncProducer):
    def each(self, count: int) -> None:
        for number in range(count):
            noop.send(*arguments(number))

    def mark(self, index: int) -> None:
        probe.sent(index)
        mark.send(index)

    def mark_later(self, index: int, delay_s: float) -> None:
        probe.sent(index)
        mark.send_with_options(args=(index,), delay=int(delay_s * 1000))

    def later(self, count: int, delay_s: float) -> None:
        for number in range(count):
            noop.send_with_options(args=arguments(number), delay=int(delay_s * 1000))


PRODUCER = _Producer()
