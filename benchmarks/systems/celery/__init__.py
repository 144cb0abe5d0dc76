"""Celery on its Redis transport, with late acknowledgement, on processes and on threads."""

from benchmarks.systems.base import Crew, System

_APP = "benchmarks.systems.celery.app"
_LATE = (
    "acks_late, reject_on_worker_lost, ignore_result, prefetch multiplier 4 (default), no gossip, no mingle"
)


def _workers(crew: Crew, pool: str, concurrency: int) -> list[str]:
    return [
        crew.program("celery"), "--app", f"{_APP}:app", "worker", "--loglevel", "WARNING", "--pool", pool,
        "--concurrency", str(concurrency), "--without-gossip", "--without-mingle", "--hostname",
    ]  # fmt: skip


def _prefork(crew: Crew) -> list[list[str]]:
    return [[*_workers(crew, "prefork", crew.processes), "prefork@%h"]]


def _threads(crew: Crew) -> list[list[str]]:
    return [[*_workers(crew, "threads", crew.threads), f"threads{n}@%h"] for n in range(crew.processes)]


SYSTEMS = (
    System(
        name="celery-prefork",
        distribution="celery",
        environment="celery",
        app=_APP,
        workers=_prefork,
        settings=f"prefork pool (its default), one job at a time in each process; {_LATE}",
        survives_a_kill=True,
        jobs=2_500,
        delays=True,
    ),
    System(
        name="celery-threads",
        distribution="celery",
        environment="celery",
        app=_APP,
        workers=_threads,
        settings=f"threads pool; {_LATE}",
        survives_a_kill=True,
        jobs=2_500,
        delays=True,
    ),
)
