"""What the harness needs to know about a system under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.environments import Environment

URL_VARIABLE = "FERRYMAN_BENCH_URL"
"""Names the environment variable by which adapters learn where Redis is."""


@dataclass(frozen=True)
class Crew:
    """The workers that a run asks for."""

    home: Environment
    url: str
    processes: int
    threads: int

    def program(self, name: str) -> str:
        """Path of a command that the system's environment installed."""
        return str(self.home.bin / name)

    @property
    def python(self) -> str:
        """Path of the system's interpreter."""
        return str(self.home.python)


@dataclass(frozen=True)
class System:
    """One system in one setting.

    `workers` gives the commands that together make the crew: one for systems whose command starts several
    processes, as many as processes for the others.
    """

    name: str
    distribution: str
    """The distribution whose version is reported."""
    environment: str | None
    """Key of the environment table; None: the harness's own interpreter."""
    app: str
    """Module imported in that environment; has `PRODUCER`."""
    workers: Callable[[Crew], list[list[str]]]
    settings: str
    """For the report: the settings that matter, and why these."""
    survives_a_kill: bool
    """Whether a job is given to another worker after its own was killed, in this setting."""
    jobs: int
    """No-op jobs of a drain run with one process: about one and a half to two seconds' worth or more."""
    singles: int = 2_000
    """Jobs of an enqueue run, one call each."""
    bulk: str | None = None
    """Its documented bulk call, if it has one."""
    delays: bool = False
    """Whether it can run a job after a delay without a further process."""
    forks_for_each_job: bool = False


def repeated(command: list[str], crew: Crew) -> list[list[str]]:
    """The same command once for each process."""
    return [command] * crew.processes
