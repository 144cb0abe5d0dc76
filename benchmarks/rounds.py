"""Interleaved rounds: A B C, A B C, A B C, so that a slow minute of the machine falls on all alike."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import psutil
import redis

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Series
from benchmarks.machine import Steal
from benchmarks.plan import Measurement
from benchmarks.session import Session
from benchmarks.systems.base import System

_A_RUN_FAILED = (BenchmarkError, OSError, subprocess.SubprocessError, psutil.Error, redis.RedisError)

Progress = Callable[[str], None]


def measure(
    session: Session, measurement: Measurement, systems: list[System], progress: Progress
) -> list[Series]:
    """Run every system and variant `runs` times, interleaved. A failed run is noted, and the others go on."""
    variants = measurement.variants(session.scale)
    series = {
        (system.name, variant): Series(system.name, variant)
        for variant in variants
        for system in systems
        if measurement.fits(system)
    }
    for number in range(1, session.scale.runs + 1):
        for variant in variants:
            for system in systems:
                if measurement.fits(system):
                    _once(session, measurement, system, series[system.name, variant], number, progress)
    return list(series.values())


def _once(
    session: Session, measurement: Measurement, system: System, into: Series, number: int, progress: Progress
) -> None:
    label = f"{measurement.name} {number}/{session.scale.runs} {system.name} {into.variant}".rstrip()
    began, steal = time.monotonic(), Steal()
    try:
        record = measurement.run(session, system, into.variant, number)
    except _A_RUN_FAILED as error:
        into.failures.append(f"round {number}: {error}")
        progress(f"{label}: failed: {error}")
        return
    into.records.append(record | {"round": number, "steal_percent": steal.percent()})
    progress(f"{label}: {record[measurement.headline]:,.2f} ({time.monotonic() - began:.1f} s)")
