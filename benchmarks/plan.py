"""The measurements that can be asked for: how each is run, over which variants, and what is shown of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.figures import Record
from benchmarks.measurements.drain import drain
from benchmarks.measurements.durability import VARIANTS as DURABILITY_VARIANTS
from benchmarks.measurements.durability import durability
from benchmarks.measurements.enqueue import enqueue
from benchmarks.measurements.flat import VARIANTS as FLAT_VARIANTS
from benchmarks.measurements.flat import flat
from benchmarks.measurements.latency import delayed, latency
from benchmarks.measurements.memory import growth, memory
from benchmarks.measurements.schedules import VARIANTS as SCHEDULE_VARIANTS
from benchmarks.measurements.schedules import schedules
from benchmarks.session import Scale, Session
from benchmarks.systems.base import System


@dataclass(frozen=True)
class Column:
    """One figure in a table. `digits` after the point; `spread` adds the lowest and the highest run."""

    figure: str
    title: str
    digits: int = 0
    spread: bool = False


@dataclass(frozen=True)
class Measurement:
    """One question. `headline` is the figure that ratios are made of; `more_is_better` says which way."""

    name: str
    title: str
    note: str
    run: Callable[[Session, System, str, int], Record]
    variants: Callable[[Scale], tuple[str, ...]]
    columns: tuple[Column, ...]
    headline: str
    more_is_better: bool
    fits: Callable[[System], bool] = lambda system: True
    default: tuple[str, ...] = ()
    """Systems measured unless others are named; empty: all."""


def _processes(scale: Scale) -> tuple[str, ...]:
    return tuple(str(count) for count in scale.processes)


def _one(scale: Scale) -> tuple[str, ...]:
    return ("",)


MEASUREMENTS: dict[str, Measurement] = {
    found.name: found
    for found in (
        Measurement(
            name="drain",
            title="Working off a backlog of no-op jobs",
            note="Variant: worker processes. Redis CPU and commands are for a job's whole way, from the "
            "enqueue (in "
            "bulk where the system can) to the acknowledgement; commands inside scripts count.",
            run=lambda session, system, variant, _: drain(session, system, int(variant)),
            variants=_processes,
            columns=(
                Column("jobs_per_s", "jobs/s", spread=True),
                Column("jobs", "N"),
                Column("seconds", "run s", 2),
                Column("redis_us", "Redis CPU us/job", 1),
                Column("commands", "commands/job", 2),
                Column("worker_us", "worker CPU us/job", 1),
                Column("bytes_queued", "bytes/queued job"),
                Column("bytes_left", "bytes left/job", 1),
            ),
            headline="jobs_per_s",
            more_is_better=True,
        ),
        Measurement(
            name="enqueue",
            title="Enqueueing from one producer",
            note="One call at a time, each returning once Redis has the job; and the system's bulk call "
            "where it "
            "has one. No worker runs.",
            run=lambda session, system, _variant, _round: enqueue(session, system),
            variants=_one,
            columns=(
                Column("single_per_s", "single/s", spread=True),
                Column("single_jobs", "N"),
                Column("single_redis_us", "Redis CPU us/job", 1),
                Column("single_producer_us", "producer CPU us/job", 1),
                Column("bytes_queued", "bytes/queued job"),
                Column("bulk_per_s", "bulk/s", spread=True),
                Column("bulk_redis_us", "Redis CPU us/job, bulk", 1),
                Column("bulk_producer_us", "producer CPU us/job, bulk", 1),
            ),
            headline="single_per_s",
            more_is_better=True,
        ),
        Measurement(
            name="durability",
            title="What durability costs a single enqueue",
            note="One thread, one call after the other, each returning once the job is as safe as asked; and "
            "thirty-two threads at once. Valkey from the wheel with up to two replicas, on one disk and one "
            "machine: across a network, add its round trip.",
            run=lambda session, system, variant, _: durability(session, variant),
            variants=lambda _: DURABILITY_VARIANTS,
            columns=(
                Column("p50_ms", "p50 ms", 2, spread=True),
                Column("p99_ms", "p99 ms", 2),
                Column("single_per_s", "single/s"),
                Column("threads_per_s", "32 threads/s"),
                Column("calls", "calls"),
            ),
            headline="p50_ms",
            more_is_better=False,
            fits=lambda system: system.name == "ferryman",
            default=("ferryman",),
        ),
        Measurement(
            name="latency",
            title="From enqueue to start on an idle worker",
            note="Single jobs, 20 to 180 ms apart; from just before the enqueue call to the task's "
            "first line.",
            run=lambda session, system, _, number: latency(session, system, number),
            variants=_one,
            columns=(
                Column("p50_ms", "p50 ms", 2, spread=True),
                Column("p99_ms", "p99 ms", 2, spread=True),
                Column("max_ms", "worst ms", 1),
                Column("samples", "samples/run"),
            ),
            headline="p50_ms",
            more_is_better=False,
        ),
        Measurement(
            name="memory",
            title="What an idle worker weighs",
            note="One worker process with 16 threads (async systems: their own concurrency) after a "
            "thousand jobs; "
            "every process that the system started counts.",
            run=lambda session, system, _variant, _round: memory(session, system),
            variants=_one,
            columns=(
                Column("rss_mib", "RSS MiB", 1, spread=True),
                Column("pss_mib", "PSS MiB", 1),
                Column("processes", "processes"),
                Column("idle_cpu_percent", "idle CPU %", 2),
                Column("idle_commands_per_s", "idle commands/s", 1),
            ),
            headline="rss_mib",
            more_is_better=False,
        ),
        Measurement(
            name="delayed",
            title="Lateness of delayed jobs",
            note="Jobs delayed by one to six seconds while many others wait for a later hour.",
            run=lambda session, system, _, number: delayed(session, system, number),
            variants=_one,
            columns=(
                Column("late_p50_ms", "late p50 ms", 1, spread=True),
                Column("late_p99_ms", "late p99 ms", 1, spread=True),
                Column("late_max_ms", "worst ms", 1),
                Column("samples", "samples/run"),
                Column("pending", "others pending"),
            ),
            headline="late_p50_ms",
            more_is_better=False,
            fits=lambda system: system.delays,
            default=("ferryman",),
        ),
        Measurement(
            name="flat",
            title="The cost of a job, whatever else is waiting",
            note="The same number of jobs worked off out of a short queue, from the head of a long one, "
            "and while "
            "very many delayed jobs are pending.",
            run=lambda session, system, variant, _: flat(session, system, variant),
            variants=lambda _: FLAT_VARIANTS,
            columns=(
                Column("jobs_per_s", "jobs/s", spread=True),
                Column("depth", "queued"),
                Column("delayed", "delayed"),
                Column("redis_work_us", "Redis CPU us/job", 2),
                Column("worker_us", "worker CPU us/job", 2),
            ),
            headline="jobs_per_s",
            more_is_better=True,
            fits=lambda system: system.delays,
            default=("ferryman",),
        ),
        Measurement(
            name="schedules",
            title="Lateness of schedules' ticks",
            note="Few: twenty schedules, each once a second; many: the same among 100,000; storm: 10,000 due "
            "at the same moment. From the due moment to the enqueue, by the server's clock.",
            run=lambda session, system, variant, _: schedules(session, system, variant),
            variants=lambda _: SCHEDULE_VARIANTS,
            columns=(
                Column("late_p50_ms", "late p50 ms", 1, spread=True),
                Column("late_p99_ms", "late p99 ms", 1, spread=True),
                Column("late_max_ms", "worst ms", 1),
                Column("samples", "ticks/run"),
                Column("schedules", "schedules"),
                Column("ticks_per_s", "ticks/s"),
                Column("scheduler_us", "scheduler CPU us/tick"),
                Column("redis_us", "Redis CPU us/tick"),
            ),
            headline="late_p99_ms",
            more_is_better=False,
            fits=lambda system: system.name == "ferryman",
            default=("ferryman",),
        ),
        Measurement(
            name="growth",
            title="Memory over a million jobs",
            note="After a tenth of the jobs, and after all of them.",
            run=lambda session, system, _variant, _round: growth(session, system),
            variants=_one,
            columns=(
                Column("jobs", "jobs"),
                Column("early_rss_mib", "worker MiB early", 1),
                Column("late_rss_mib", "worker MiB late", 1),
                Column("growth_bytes_per_job", "worker bytes/job", 2),
                Column("early_redis_mib", "Redis MiB early", 1),
                Column("late_redis_mib", "Redis MiB late", 1),
                Column("redis_growth_bytes_per_job", "Redis bytes/job", 2),
            ),
            headline="late_rss_mib",
            more_is_better=False,
            default=("ferryman",),
        ),
    )
}
