"""taskiq on Redis streams."""

from benchmarks.systems.base import System

SYSTEMS = (
    System(
        name="taskiq",
        distribution="taskiq",
        environment="taskiq",
        app="benchmarks.systems.taskiq.app",
        workers=lambda crew: [
            [
                crew.program("taskiq"), "worker", "benchmarks.systems.taskiq.app:broker", "--workers",
                str(crew.processes), "--ack-type", "when_executed", "--log-level", "WARNING",
            ]
        ],
        settings="RedisStreamBroker, ack when executed, no result backend, 100 async tasks (default), uvloop",
        survives_a_kill=True,
        jobs=8_000,
        singles=4_000,
    ),
)  # fmt: skip
