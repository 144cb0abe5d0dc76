"""RQ, with the in-process worker and with the forking one."""

from benchmarks.systems.base import Crew, System, repeated

_APP = "benchmarks.systems.rq.app"
_SIZE = "with a dotted task name its job hash outgrows Redis' compact encoding (64 bytes a field)"


def _workers(crew: Crew, worker_class: str) -> list[list[str]]:
    command = [
        crew.program("rq"),
        "worker",
        "--url",
        crew.url,
        "--quiet",
        "--worker-class",
        worker_class,
        "bench",
    ]
    return repeated(command, crew)


SYSTEMS = (
    System(
        name="rq-simple",
        distribution="rq",
        environment="rq",
        app=_APP,
        workers=lambda crew: _workers(crew, "rq.worker.SimpleWorker"),
        settings=f"SimpleWorker (no fork, one job at a time), Retry(max=3), result_ttl=0; {_SIZE}",
        survives_a_kill=True,
        jobs=1_500,
        singles=1_500,
        bulk="Queue.enqueue_many, 500 a call",
    ),
    System(
        name="rq-fork",
        distribution="rq",
        environment="rq",
        app=_APP,
        workers=lambda crew: _workers(crew, "rq.worker.Worker"),
        settings=f"Worker (its default: a fork for each job), Retry(max=3), result_ttl=0; {_SIZE}",
        survives_a_kill=True,
        jobs=300,
        singles=1_500,
        bulk="Queue.enqueue_many, 500 a call",
        forks_for_each_job=True,
    ),
)
