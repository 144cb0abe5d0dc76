"""The workers of one run: started, shown to be ready, paused, resumed, weighed, stopped."""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.client import Producer
from benchmarks.errors import BenchmarkError
from benchmarks.probe import Probe
from benchmarks.processes import pause, resume, start, stop, tree
from benchmarks.systems.base import Crew, System

READY_DEADLINE_S = 45.0
WARM_UP_BATCH = 20
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Weight:
    """Memory of a crew in MiB, all processes together: resident, and proportional (shared pages divided)."""

    rss_mib: float
    pss_mib: float
    processes: int


class Fleet:
    """The worker processes of one system."""

    def __init__(self, system: System, crew: Crew, variables: dict[str, str], log: Path) -> None:
        self.system, self.crew = system, crew
        self._variables, self._log = variables, log
        self._roots: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for command in self.system.workers(self.crew):
            self._roots.append(start(command, log=self._log, environment=self._variables))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self._roots)

    def warm_up(self, producer: Producer, probe: Probe) -> None:
        """Feed small batches until every process has run a job and nothing is left.

        What is measured afterwards then holds no start-up, no first connection and no script loading.
        """
        deadline = time.monotonic() + READY_DEADLINE_S
        enqueued = 0
        while len(probe.processes(parents=self.system.forks_for_each_job)) < self.crew.processes:
            self._check(deadline, f"only some of {self.crew.processes} processes have run a job")
            if probe.count() >= enqueued:
                producer.ask(READY_DEADLINE_S, do="each", count=WARM_UP_BATCH)
                enqueued += WARM_UP_BATCH
            time.sleep(0.05)
        while probe.count() < enqueued:
            self._check(deadline, f"{probe.count()} of {enqueued} first jobs are done")
            time.sleep(0.02)
        # Acknowledgements of the last jobs, and whatever a worker does once it falls idle.
        time.sleep(0.3)

    def wait_for(self, probe: Probe, jobs: int, deadline_s: float, every_s: float = 0.01) -> None:
        """Return once that many jobs have run. Raises BenchmarkError at the deadline or if a worker ended."""
        deadline = time.monotonic() + deadline_s
        while (count := probe.count()) < jobs:
            self._check(deadline, f"{count} of {jobs} jobs are done after {deadline_s:.0f} s")
            time.sleep(every_s)

    def wait_until_all_work(self, probe: Probe, deadline_s: float) -> None:
        """Return once every process has run a job."""
        deadline = time.monotonic() + deadline_s
        while len(probe.processes(parents=self.system.forks_for_each_job)) < self.crew.processes:
            self._check(deadline, f"only some of {self.crew.processes} processes have run a job")
            time.sleep(0.003)

    def pause(self) -> None:
        """Freeze every process, so that a backlog can be laid in front of workers that are up."""
        pause(self._roots)

    def resume(self) -> None:
        """Let every process run on."""
        resume(self._roots)

    def cpu_s(self) -> float:
        """CPU seconds of all processes so far, children that have ended included."""
        total = 0.0
        for process in tree(self._roots):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def weight(self) -> Weight:
        """Memory in use now."""
        rss, pss, count = 0, 0, 0
        for process in tree(self._roots):
            with contextlib.suppress(psutil.NoSuchProcess):
                memory = process.memory_full_info()
                rss, pss, count = rss + memory.rss, pss + getattr(memory, "pss", memory.rss), count + 1
        return Weight(rss / _MEBIBYTE, pss / _MEBIBYTE, count)

    def _check(self, deadline: float, state: str) -> None:
        ended = [root for root in self._roots if root.poll() is not None]
        if ended:
            raise BenchmarkError(
                f"{self.system.name}: a worker ended with {ended[0].returncode}: see {self._log}"
            )
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{self.system.name}: {state}: see {self._log}")
