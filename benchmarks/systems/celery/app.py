"""Celery's side: runs in its own environment."""

import os

from celery import Celery

from benchmarks import probe
from benchmarks.producing import SyncProducer, arguments
from benchmarks.systems.base import URL_VARIABLE

app = Celery("bench", broker=os.environ[URL_VARIABLE])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_default_queue="bench",
    broker_connection_retry_on_startup=True,
)


@app.task
def noop(number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


@app.task
def mark(index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)


class _Producer(SyncProducer):
    def each(self, count: int) -> None:
        for number in range(count):
            noop.delay(*arguments(number))

    def mark(self, index: int) -> None:
        probe.sent(index)
        mark.delay(index)

    def mark_later(self, index: int, delay_s: float) -> None:
        probe.sent(index)
        mark.apply_async((index,), countdown=delay_s)

    def later(self, count: int, delay_s: float) -> None:
        for number in range(count):
            noop.apply_async(arguments(number), countdown=delay_s)


PRODUCER = _Producer()
