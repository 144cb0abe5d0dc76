"""The systems under test, one package each.

The package itself describes the system and is imported by the harness; its `app` is imported only inside the
system's own environment.
"""

from __future__ import annotations

from benchmarks.errors import BenchmarkError
from benchmarks.systems import (
    arq,
    celery,
    dramatiq,
    ferryman,
    floor,
    huey,
    rq,
    saq,
    streaq,
    taskiq,
)
from benchmarks.systems.base import System

_PACKAGES = (floor, ferryman, huey, taskiq, saq, dramatiq, celery, arq, streaq, rq)

SYSTEMS: dict[str, System] = {system.name: system for package in _PACKAGES for system in package.SYSTEMS}


def chosen(names: str | None, default: tuple[str, ...]) -> list[System]:
    """The systems of a comma-separated list, in the table's order; a bare family name takes all its settings.

    Raises BenchmarkError for a name that is not there.
    """
    if names == "all":
        return list(SYSTEMS.values())
    wanted = tuple(part.strip() for part in names.split(",")) if names else default
    for name in wanted:
        if not any(_matches(system, name) for system in SYSTEMS.values()):
            raise BenchmarkError(f"no system called {name!r}: there are {', '.join(SYSTEMS)}")
    return [system for system in SYSTEMS.values() if any(_matches(system, name) for name in wanted)]


def _matches(system: System, name: str) -> bool:
    return system.name == name or system.name.startswith(f"{name}-")
