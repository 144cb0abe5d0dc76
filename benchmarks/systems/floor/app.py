"""The floor's producer: one EVALSHA a call."""

import os
from itertools import count as numbers

import msgspec
import redis

from benchmarks import probe
from benchmarks.producing import SyncProducer, arguments, chunks
from benchmarks.systems.base import URL_VARIABLE
from benchmarks.systems.floor import scripts

_encode = msgspec.msgpack.Encoder().encode


class _Producer(SyncProducer):
    def __init__(self) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(os.environ[URL_VARIABLE])
        self._script = str(self._redis.script_load(scripts.ENQUEUE))
        # As long as a real id, so that memory compares.
        self._ids = (f"01J{number:023d}" for number in numbers())

    def _enqueue(self, pairs: list[str | bytes]) -> None:
        self._redis.evalsha(self._script, 3, scripts.READY, scripts.JOBS, scripts.BELL, *pairs)

    def each(self, count: int) -> None:
        for number in range(count):
            self._enqueue([next(self._ids), _encode((1, "noop", arguments(number)))])

    def bulk(self, count: int) -> None:
        for chunk in chunks(count):
            pairs: list[str | bytes] = []
            for number in chunk:
                pairs += (next(self._ids), _encode((1, "noop", arguments(number))))
            self._enqueue(pairs)

    def mark(self, index: int) -> None:
        probe.sent(index)
        self._enqueue([next(self._ids), _encode((1, "mark", (index,)))])


PRODUCER = _Producer()
