"""A session: one Redis, one folder of logs, and runs that each begin with an empty database."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.client import Producer
from benchmarks.environments import Environment, environment
from benchmarks.fleet import Fleet
from benchmarks.probe import ENVIRONMENT_VARIABLE, Probe
from benchmarks.server import Server
from benchmarks.systems.base import URL_VARIABLE, Crew, System


@dataclass(frozen=True)
class Scale:
    """How much a session measures."""

    runs: int = 3
    processes: tuple[int, ...] = (1, 2)
    threads: int = 8
    jobs: int | None = None
    """No-op jobs of a drain run; None: each system's own figure."""
    share: float = 1.0
    """Part of each system's own numbers of jobs that is used: less than one for a quick look."""
    samples: int = 200
    pending: int = 100_000
    """Delayed jobs that wait while the lateness of others is measured."""

    def drain_jobs(self, system: System) -> int:
        """Jobs of a drain run of that system."""
        return self.jobs or max(200, int(system.jobs * self.share))

    def single_jobs(self, system: System) -> int:
        """Jobs of an enqueue run of that system, one call each."""
        return max(200, int(system.singles * self.share))


@dataclass(frozen=True)
class Run:
    """What a measurement works with."""

    system: System
    server: Server
    probe: Probe
    producer: Producer
    variables: dict[str, str]
    log: Path
    """Where the workers' output goes."""

    def fill(self, jobs: int, deadline_s: float = 300.0) -> dict[str, float]:
        """Enqueue no-op jobs as fast as the system offers."""
        answer: dict[str, float] = self.producer.ask(
            deadline_s, do="bulk" if self.system.bulk else "each", count=jobs
        )
        return answer


@dataclass
class Session:
    """Makes runs. The folder keeps the logs of everything that was started."""

    server: Server
    folder: Path
    scale: Scale
    homes: dict[str, Environment] = field(default_factory=dict)
    _runs: int = 0

    def home(self, system: System) -> Environment:
        """The system's environment, made if need be."""
        key = system.environment or ""
        if key not in self.homes:
            self.homes[key] = environment(system.environment)
        return self.homes[key]

    @contextlib.contextmanager
    def run(self, system: System) -> Iterator[Run]:
        """A run: an empty database, a fresh probe and a producer that is connected. No worker yet."""
        self._runs += 1
        label = f"{self._runs:03d}-{system.name}"
        probe = Probe(self.folder / f"{label}.probe")
        variables = {URL_VARIABLE: self.server.url, ENVIRONMENT_VARIABLE: str(probe.path)}
        self.server.clear()
        try:
            with Producer(
                system.app, self.home(system), variables, self.folder / f"{label}-producer.log"
            ) as producer:
                yield Run(
                    system, self.server, probe, producer, variables, self.folder / f"{label}-workers.log"
                )
        finally:
            probe.path.unlink()

    def crew(self, run: Run, processes: int, threads: int | None = None) -> Fleet:
        """The workers of a run, not started yet."""
        crew = Crew(self.home(run.system), self.server.url, processes, threads or self.scale.threads)
        return Fleet(run.system, crew, run.variables, run.log)

    @contextlib.contextmanager
    def idle(self, system: System, threads: int | None = None) -> Iterator[tuple[Run, Fleet]]:
        """A run with one worker process that is up, has run jobs and has nothing to do."""
        with self.run(system) as run, self.crew(run, 1, threads) as fleet:
            fleet.warm_up(run.producer, run.probe)
            yield run, fleet


@contextlib.contextmanager
def session(scale: Scale, *, append_only: bool = False) -> Iterator[Session]:
    """Open a session in a fresh temporary folder; the server ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="ferryman-bench-"))
    with Server(folder, append_only=append_only) as server:
        yield Session(server, folder, scale)
