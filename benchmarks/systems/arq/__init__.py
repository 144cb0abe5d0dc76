"""arq."""

from benchmarks.systems.base import System, repeated

SYSTEMS = (
    System(
        name="arq",
        distribution="arq",
        environment="arq",
        app="benchmarks.systems.arq.app",
        workers=lambda crew: repeated(
            [
                crew.program("arq"), "benchmarks.systems.arq.app.WorkerSettings",
                "--custom-log-dict", "benchmarks.systems.arq.app.LOGGING",
            ],
            crew,
        ),
        settings="poll_delay 50 ms (default 500 ms), max_jobs 10 (default), keep_result 0; always reliable",
        survives_a_kill=True,
        jobs=3_000,
        delays=True,
    ),
)  # fmt: skip
