"""RQ, with the in-process worker and with the forking one."""

from benchmarks.systems.base import Crew, System, repeated

_APP = "benchmarks.systems.rq.app"


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
        settings="SimpleWorker (no fork, one job at a time), Retry(max=3), result_ttl=0",
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
        settings="Worker (its default: a fork for each job), Retry(max=3), result_ttl=0",
        survives_a_kill=True,
        jobs=300,
        singles=1_500,
        bulk="Queue.enqueue_many, 500 a call",
        forks_for_each_job=True,
    ),
)
