"""streaq."""

from benchmarks.systems.base import System

SYSTEMS = (
    System(
        name="streaq",
        distribution="streaq",
        environment="streaq",
        app="benchmarks.systems.streaq.app",
        workers=lambda crew: [
            [
                crew.program("streaq"),
                "run",
                "benchmarks.systems.streaq.app:worker",
                "--workers",
                str(crew.processes),
            ]
        ],
        settings="concurrency 32 (as in its own benchmark; default 16), ttl 0 (keep no result), task "
        "logs off; "
        "always reliable",
        survives_a_kill=True,
        jobs=2_000,
        bulk="Worker.enqueue_many, 500 a call",
        delays=True,
    ),
)
