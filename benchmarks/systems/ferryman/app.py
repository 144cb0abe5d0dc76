"""Ferryman's side."""

import os

from benchmarks import probe
from benchmarks.producing import SyncProducer, arguments, chunks
from benchmarks.systems.base import URL_VARIABLE
from ferryman import Ferryman

app = Ferryman(os.environ[URL_VARIABLE])


@app.task(queue="bench")
def noop(number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


@app.task(queue="bench")
def mark(index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)


class _Producer(SyncProducer):
    def each(self, count: int) -> None:
        for number in range(count):
            noop.enqueue(*arguments(number))

    def bulk(self, count: int) -> None:
        for chunk in chunks(count):
            noop.enqueue_many([arguments(number) for number in chunk])

    def mark(self, index: int) -> None:
        probe.sent(index)
        mark.enqueue(index)

    def mark_later(self, index: int, delay_s: float) -> None:
        task = mark.options(delay=delay_s)
        probe.sent(index)
        task.enqueue(index)

    def later(self, count: int, delay_s: float) -> None:
        task = noop.options(delay=delay_s)
        for chunk in chunks(count):
            task.enqueue_many([arguments(number) for number in chunk])


PRODUCER = _Producer()
