"""Ferryman, from the tree that the harness runs in."""

from benchmarks.systems.base import Crew, System


def _workers(crew: Crew) -> list[list[str]]:
    return [
        [
            crew.python, "-m", "ferryman", "worker", "benchmarks.systems.ferryman.app:app", "-q", "bench",
            "-p", str(crew.processes), "-t", str(crew.threads),
        ]
    ]  # fmt: skip


SYSTEMS = (
    System(
        name="ferryman",
        distribution="ferryman",
        environment=None,
        app="benchmarks.systems.ferryman.app",
        workers=_workers,
        settings="defaults: leases, late acknowledgement, retries; thread pool",
        survives_a_kill=True,
        jobs=300_000,
        singles=8_000,
        bulk="task.enqueue_many, 500 a call",
        delays=True,
    ),
)
