"""Enqueue-to-start time on an idle worker, and the lateness of delayed jobs."""

from __future__ import annotations

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Record, percentile
from benchmarks.session import Session
from benchmarks.systems.base import System

IDLE_GAP_S = (0.02, 0.18)
DELAYED_GAP_S = (0.005, 0.025)
DELAY_S = (1.0, 6.0)
FAR_AWAY_S = 3_600.0
DEADLINE_S = 120.0
FILL_DEADLINE_S = 300.0


def latency(session: Session, system: System, round_number: int) -> Record:
    """Single jobs with random gaps between them, one worker process.

    The time runs from just before the enqueue call to the task's first line.
    """
    samples = session.scale.samples
    with session.idle(system) as (run, fleet):
        done = run.probe.count()
        run.producer.ask(DEADLINE_S, do="marks", count=samples, gap_s=IDLE_GAP_S, seed=round_number)
        fleet.wait_for(run.probe, done + samples, DEADLINE_S)
        delays = run.probe.delays_ns(samples)
    taken = [delay / 1e6 for delay in delays if delay is not None]
    if len(taken) != samples:
        raise BenchmarkError(f"{system.name}: {samples - len(taken)} of {samples} samples never started")
    return {
        "samples": samples,
        "p50_ms": percentile(taken, 0.5),
        "p99_ms": percentile(taken, 0.99),
        "max_ms": max(taken),
    }


def delayed(session: Session, system: System, round_number: int) -> Record:
    """Jobs delayed by one to six seconds, while many others wait for a later hour: start minus due moment.

    A job may start early where a system rounds its due time; that counts as negative lateness.
    """
    samples = session.scale.samples
    with session.idle(system) as (run, fleet):
        run.producer.ask(FILL_DEADLINE_S, do="later", count=session.scale.pending, delay_s=FAR_AWAY_S)
        done = run.probe.count()
        answer = run.producer.ask(
            DEADLINE_S,
            do="marks_later",
            count=samples,
            gap_s=DELAYED_GAP_S,
            delay_s=DELAY_S,
            seed=round_number,
        )
        fleet.wait_for(run.probe, done + samples, DEADLINE_S)
        delays = run.probe.delays_ns(samples)
    late = [
        taken / 1e6 - due * 1e3
        for taken, due in zip(delays, answer["delays_s"], strict=True)
        if taken is not None
    ]
    if len(late) != samples:
        raise BenchmarkError(f"{system.name}: {samples - len(late)} of {samples} delayed jobs never started")
    return {
        "samples": samples,
        "pending": session.scale.pending,
        "late_p50_ms": percentile(late, 0.5),
        "late_p99_ms": percentile(late, 0.99),
        "late_max_ms": max(late),
    }
