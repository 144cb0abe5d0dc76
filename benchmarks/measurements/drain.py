"""How fast a backlog of no-op jobs is worked off, and what it costs Redis and the workers.

The backlog lies there first; then the workers start. The clock starts when every worker process has run at
least one job, and stops at the last job: start-up is no part of it, nor is an idle worker's poll interval,
and the jobs done before that moment are not counted. No worker is ever frozen: to freeze all while the
backlog is laid would be simpler, but their blocking calls then time out, and some systems strand the job
that such a call had been given.
"""

from __future__ import annotations

import time

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Record
from benchmarks.fleet import Fleet
from benchmarks.session import Run, Session
from benchmarks.systems.base import System

DEADLINE_S = 180.0
SMALLEST_SHARE = 0.25
"""Part of the backlog that must be left when the clock starts."""


def drain(session: Session, system: System, processes: int) -> Record:
    """One run. Figures: see `benchmarks.plan`."""
    jobs = session.scale.drain_jobs(system)
    with session.run(system) as run:
        empty = run.server.reading()
        run.fill(jobs)
        filled = run.server.reading()
        with session.crew(run, processes) as fleet:
            window = work_through(run, fleet, jobs)
            # The last acknowledgements are still on their way.
            time.sleep(0.3)
        # Read without the workers, whose connections weigh more than the jobs of a small run.
        left = run.server.reading().used_memory - empty.used_memory
        if run.probe.count() != jobs:
            raise BenchmarkError(f"{system.name}: {run.probe.count()} jobs ran, {jobs} were enqueued")
    enqueued = filled - empty
    return window | {
        "jobs": jobs,
        "redis_enqueue_us": enqueued.cpu_s / jobs * 1e6,
        "redis_us": enqueued.cpu_s / jobs * 1e6 + window["redis_work_us"],
        "commands": enqueued.commands / jobs + window["work_commands"],
        "bytes_queued": enqueued.used_memory / jobs,
        "bytes_left": left / jobs,
    }


def work_through(run: Run, fleet: Fleet, jobs: int) -> Record:
    """Costs and pace from the moment all processes are at work until that many jobs have run."""
    fleet.wait_until_all_work(run.probe, DEADLINE_S)
    cpu = fleet.cpu_s()
    began, before = run.probe.tally(), time.monotonic_ns()
    redis = run.server.reading()
    if began.jobs > jobs * (1 - SMALLEST_SHARE):
        raise BenchmarkError(
            f"{run.system.name}: {began.jobs} of {jobs} jobs were done before every process was at work: "
            "raise --jobs or --share"
        )
    fleet.wait_for(run.probe, jobs, DEADLINE_S)
    ended = run.probe.tally()
    cpu, redis = fleet.cpu_s() - cpu, run.server.reading() - redis
    counted, seconds = ended.jobs - began.jobs, (ended.last_ns - before) / 1e9
    return {
        "counted": counted,
        "seconds": seconds,
        "jobs_per_s": counted / seconds,
        "worker_us": cpu / counted * 1e6,
        "redis_work_us": redis.cpu_s / counted * 1e6,
        "work_commands": redis.commands / counted,
    }
