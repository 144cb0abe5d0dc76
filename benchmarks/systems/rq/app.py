"""RQ's side: runs in its own environment."""

import os

from redis import Redis
from rq import Queue, Retry

from benchmarks import probe
from benchmarks.producing import SyncProducer, arguments, chunks
from benchmarks.systems.base import URL_VARIABLE
from benchmarks.systems.rq.jobs import mark, noop

_queue = Queue("bench", connection=Redis.from_url(os.environ[URL_VARIABLE]))


class _Producer(SyncProducer):
    def each(self, count: int) -> None:
        retry = Retry(max=3)
        for number in range(count):
            _queue.enqueue(noop, args=arguments(number), result_ttl=0, retry=retry)

    def bulk(self, count: int) -> None:
        retry = Retry(max=3)
        for chunk in chunks(count):
            _queue.enqueue_many(
                [
                    Queue.prepare_data(noop, args=arguments(number), result_ttl=0, retry=retry)
                    for number in chunk
                ]
            )

    def mark(self, index: int) -> None:
        probe.sent(index)
        _queue.enqueue(mark, args=(index,), result_ttl=0)


PRODUCER = _Producer()
