"""The measurements of ``ferryman bench``."""

from __future__ import annotations

import secrets
import statistics
import threading
import time
from dataclasses import dataclass
from typing import Any

from ferryman import Ferryman, Task
from ferryman.errors import ConfigurationError
from ferryman.store.keys import QueueKeys

_ROUND_TRIPS = 500
_LATENCIES = 200
_CHUNK = 5_000


@dataclass
class Figures:
    """What was measured. Rates are per second, times in milliseconds."""

    ping_p50_ms: float
    ping_p99_ms: float
    enqueue_one_per_s: float
    enqueue_bulk_per_s: float
    drain_per_s: float
    latency_p50_ms: float
    latency_p99_ms: float
    jobs: int


class Bench:
    """The measurements, on a queue of their own."""

    def __init__(self, app: Ferryman, jobs: int, limit_s: float) -> None:
        self._app = app
        self._jobs = jobs
        self._limit_s = limit_s
        self._queue = f"ferryman-bench-{secrets.token_hex(4)}"
        self._seen = threading.Event()
        self._began = app.store.server_ms() // 60_000
        self._noop: Task[[], None] = app.task(name="ferryman.bench:noop", queue=self._queue)(_noop)
        self._signal: Task[[], None] = app.task(name="ferryman.bench:signal", queue=self._queue)(self._told)

    def _told(self) -> None:
        self._seen.set()

    def measure(self) -> Figures:
        """Everything, one after the other."""
        pings = self._each(lambda: self._app.store.pool.command("PING"), _ROUND_TRIPS)
        singles = self._each(self._noop.enqueue, _ROUND_TRIPS)
        enqueued, bulk_s = self._bulk()
        drained, drain_s, latencies = self._work(enqueued + len(singles))
        return Figures(
            ping_p50_ms=_p(pings, 50),
            ping_p99_ms=_p(pings, 99),
            enqueue_one_per_s=round(1000 / statistics.fmean(singles)),
            enqueue_bulk_per_s=round(enqueued / bulk_s),
            drain_per_s=round(drained / drain_s),
            latency_p50_ms=_p(latencies, 50),
            latency_p99_ms=_p(latencies, 99),
            jobs=drained,
        )

    def _each(self, call: Any, times: int) -> list[float]:
        """Milliseconds of each of so many calls, or of as many as there is time for."""
        call()
        taken: list[float] = []
        end = time.monotonic() + self._limit_s
        while len(taken) < times and time.monotonic() < end:
            before = time.perf_counter()
            call()
            taken.append((time.perf_counter() - before) * 1000)
        return taken

    def _bulk(self) -> tuple[int, float]:
        enqueued, start = 0, time.perf_counter()
        while enqueued < self._jobs and time.perf_counter() - start < self._limit_s:
            batch = min(_CHUNK, self._jobs - enqueued)
            self._noop.enqueue_many([()] * batch)
            enqueued += batch
        return enqueued, time.perf_counter() - start

    def _work(self, expected: int) -> tuple[int, float, list[float]]:
        """Drain the queue with a worker, then see how soon one job begins on an idle worker."""
        from ferryman.worker.inprocess import InProcessWorker

        queue = self._app.queue(self._queue)
        start = time.perf_counter()
        with InProcessWorker(self._app, [self._queue]):
            while (left := _left(queue.info())) and time.perf_counter() - start < self._limit_s:
                time.sleep(0.01)
            drained, drain_s = expected - left, time.perf_counter() - start
            queue.purge()
            latencies = self._each(self._there_and_run, _LATENCIES)
        return drained, drain_s, latencies

    def _there_and_run(self) -> None:
        self._seen.clear()
        self._signal.enqueue()
        if not self._seen.wait(self._limit_s):
            raise ConfigurationError("a job on an idle worker did not begin in time: see ferryman doctor")

    def clean_up(self) -> None:
        """Leave nothing behind."""
        store, keys = self._app.store, self._app.store.keys(self._queue)
        self._app.queue(self._queue).purge()
        now = store.server_ms() // 60_000
        names = [getattr(keys, slot) for slot in QueueKeys.__slots__[3:]]
        names += [keys.stats(minute) for minute in range(self._began, now + 1)]
        store.pool.command("DEL", *names)  # a producer's mark goes by itself, after its time
        store.pool.command("SREM", store.fleet_keys.queues, self._queue)


def _noop() -> None:
    """Nothing."""


def _left(info: Any) -> int:
    return int(info.queued + info.running)


def _p(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) * percent // 100, len(ordered) - 1)], 3)
