"""How fast one producer hands jobs over, no worker running: one call at a time, and by the bulk call."""

from __future__ import annotations

from benchmarks.figures import Record
from benchmarks.producing import BULK
from benchmarks.session import Session
from benchmarks.systems.base import System

DEADLINE_S = 120.0
BULK_FACTOR = 10
"""Bulk runs hand over that many times the jobs, to last long enough."""


def enqueue(session: Session, system: System) -> Record:
    """One run."""
    jobs = session.scale.single_jobs(system)
    with session.run(system) as run:
        run.producer.ask(DEADLINE_S, do="each", count=50)
        before = run.server.reading()
        single = run.producer.ask(DEADLINE_S, do="each", count=jobs)
        spent = run.server.reading() - before
        record = {
            "single_jobs": jobs,
            "single_per_s": jobs / single["seconds"],
            "single_producer_us": single["cpu_s"] / jobs * 1e6,
            "single_redis_us": spent.cpu_s / jobs * 1e6,
            "single_commands": spent.commands / jobs,
            "bytes_queued": spent.used_memory / jobs,
        }
        if system.bulk:
            many = max(BULK * 4, jobs * BULK_FACTOR)
            run.producer.ask(DEADLINE_S, do="bulk", count=BULK)
            before = run.server.reading()
            bulk = run.producer.ask(DEADLINE_S, do="bulk", count=many)
            spent = run.server.reading() - before
            record |= {
                "bulk_jobs": many,
                "bulk_per_s": many / bulk["seconds"],
                "bulk_producer_us": bulk["cpu_s"] / many * 1e6,
                "bulk_redis_us": spent.cpu_s / many * 1e6,
            }
    return record
