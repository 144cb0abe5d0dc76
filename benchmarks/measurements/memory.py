"""What a worker weighs, and whether it grows."""

from __future__ import annotations

import time

from benchmarks.figures import Record
from benchmarks.session import Session
from benchmarks.systems.base import System

THREADS = 16
WARM_JOBS = 1_000
DEADLINE_S = 180.0
GROWTH_JOBS = 1_000_000
_GROWTH_STEP = 50_000


def memory(session: Session, system: System) -> Record:
    """Memory of one worker process with 16 threads, its supervisor included, after a thousand jobs.

    Also what it costs while it has nothing to do.
    """
    with session.idle(system, THREADS) as (run, fleet):
        done = run.probe.count()
        jobs = min(WARM_JOBS, session.scale.drain_jobs(system))
        run.fill(jobs)
        fleet.wait_for(run.probe, done + jobs, DEADLINE_S)
        time.sleep(0.5)
        weight = fleet.weight()
        cpu, before, began = fleet.cpu_s(), run.server.reading(), time.monotonic()
        time.sleep(3.0)
        idle_s = time.monotonic() - began
        cpu, spent = fleet.cpu_s() - cpu, run.server.reading() - before
    return {
        "rss_mib": weight.rss_mib,
        "pss_mib": weight.pss_mib,
        "processes": weight.processes,
        "idle_cpu_percent": cpu / idle_s * 100,
        "idle_commands_per_s": spent.commands / idle_s,
    }


def growth(session: Session, system: System) -> Record:
    """Memory of worker and Redis after a tenth of a million jobs and after the whole million."""
    total = int(GROWTH_JOBS * session.scale.share)
    early = total // 10
    record: Record = {"jobs": total}
    with session.idle(system) as (run, fleet):
        done = run.probe.count()
        finished = 0
        while finished < total:
            step = min(_GROWTH_STEP, (early if finished < early else total) - finished)
            run.fill(step)
            finished += step
            fleet.wait_for(run.probe, done + finished, DEADLINE_S)
            if finished in (early, total):
                time.sleep(0.5)
                when = "early" if finished == early else "late"
                record[f"{when}_rss_mib"] = fleet.weight().rss_mib
                record[f"{when}_redis_mib"] = run.server.reading().used_memory / (1024 * 1024)
    record["growth_bytes_per_job"] = (
        (record["late_rss_mib"] - record["early_rss_mib"]) * 1024 * 1024 / (total - early)
    )
    record["redis_growth_bytes_per_job"] = (
        (record["late_redis_mib"] - record["early_redis_mib"]) * 1024 * 1024 / (total - early)
    )
    return record
