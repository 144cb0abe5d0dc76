"""Dramatiq on its Redis broker."""

from benchmarks.systems.base import Crew, System


def _workers(crew: Crew) -> list[list[str]]:
    return [
        [
            crew.program("dramatiq"), "benchmarks.systems.dramatiq.app", "--processes", str(crew.processes),
            "--threads", str(crew.threads), "--queues", "bench",
        ]
    ]  # fmt: skip


SYSTEMS = (
    System(
        name="dramatiq",
        distribution="dramatiq",
        environment="dramatiq",
        app="benchmarks.systems.dramatiq.app",
        workers=_workers,
        settings="default RedisBroker (late acknowledgement, retries), default prefetch (twice the threads)",
        survives_a_kill=True,
        jobs=6_000,
        singles=6_000,
        delays=True,
    ),
)
