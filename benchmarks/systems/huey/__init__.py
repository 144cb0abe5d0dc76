"""Huey on its Redis storage."""

from benchmarks.systems.base import Crew, System, repeated


def _workers(crew: Crew) -> list[list[str]]:
    command = [
        crew.program("huey_consumer"), "benchmarks.systems.huey.app.huey", "--workers", str(crew.threads),
        "--worker-type", "thread", "--quiet", "--no-periodic",
    ]  # fmt: skip
    return repeated(command, crew)


SYSTEMS = (
    System(
        name="huey",
        distribution="huey",
        environment="huey",
        app="benchmarks.systems.huey.app",
        workers=_workers,
        settings="RedisHuey, thread workers, results off. It has no reliable mode: a job leaves Redis "
        "when it is "
        "fetched, and is lost if its worker dies",
        survives_a_kill=False,
        jobs=10_000,
        singles=8_000,
        delays=True,
    ),
)
