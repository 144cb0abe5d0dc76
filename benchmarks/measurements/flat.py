"""Whether a job costs the same however much else is waiting.

The same number of jobs is worked off out of a short queue (filled and drained again and again), out of the
head of a very long one, and out of a short one while very many delayed jobs are pending.
"""

from __future__ import annotations

from benchmarks.figures import Record
from benchmarks.fleet import Fleet
from benchmarks.measurements.drain import DEADLINE_S, work_through
from benchmarks.measurements.latency import FAR_AWAY_S
from benchmarks.session import Run, Session
from benchmarks.systems.base import System

SHORT, LONG, DELAYED = 10_000, 1_000_000, 200_000
WINDOW = 100_000
VARIANTS = ("short", "long", "delayed")


def flat(session: Session, system: System, variant: str) -> Record:
    """One run of one variant: costs of a job over a window of a hundred thousand."""
    share = session.scale.share
    window, short = int(WINDOW * share), int(SHORT * share)
    with session.run(system) as run:
        if variant == "long":
            depth, delayed = int(LONG * share), 0
            run.fill(depth)
            with session.crew(run, processes=1) as fleet:
                costs = work_through(run, fleet, window)
        else:
            depth, delayed = short, int(DELAYED * share) if variant == "delayed" else 0
            run.producer.ask(DEADLINE_S, do="later", count=delayed, delay_s=FAR_AWAY_S)
            with session.crew(run, processes=1) as fleet:
                fleet.warm_up(run.producer, run.probe)
                costs = _refills(run, fleet, depth, window)
    return costs | {"depth": depth, "delayed": delayed}


def _refills(run: Run, fleet: Fleet, depth: int, window: int) -> Record:
    """Costs and pace of working off a short queue as often as makes the window."""
    jobs, seconds, cpu, redis = 0, 0.0, 0.0, 0.0
    while jobs < window:
        # Frozen for the tenth of a second that laying the jobs takes: far from any deadline of a worker.
        fleet.pause()
        run.probe.zero()
        run.fill(depth)
        cpu_before, redis_before = fleet.cpu_s(), run.server.reading()
        fleet.resume()
        fleet.wait_for(run.probe, depth, DEADLINE_S, every_s=0.002)
        tally = run.probe.tally()
        cpu += fleet.cpu_s() - cpu_before
        redis += (run.server.reading() - redis_before).cpu_s
        jobs, seconds = jobs + tally.jobs, seconds + tally.seconds
    return {
        "counted": jobs,
        "seconds": seconds,
        "jobs_per_s": jobs / seconds,
        "worker_us": cpu / jobs * 1e6,
        "redis_work_us": redis / jobs * 1e6,
    }
