"""Code of users that a type checker must refuse. Each ignore names the error, and one without need is an
error itself.
"""

from __future__ import annotations

from ferryman import Ferryman, Job

app = Ferryman("redis://localhost:6379/0")


@app.task(queue="mail")
def send(user_id: int, *, subject: str = "hello") -> str:
    return subject * user_id


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


def wrong_arguments() -> None:
    send.enqueue("1")  # type: ignore[arg-type]
    send.enqueue()  # type: ignore[call-arg]
    send.enqueue(1, "hi")  # type: ignore[call-arg]
    send.enqueue(1, subjekt="hi")  # type: ignore[call-arg]
    send.enqueue(1, delay=60)  # type: ignore[call-arg]
    send.options(delay=60).enqueue("1")  # type: ignore[arg-type]
    fetch.enqueue(1)  # type: ignore[arg-type]
    send.enqueue_many([1, 2])  # type: ignore[list-item]
    send("1")  # type: ignore[arg-type]


async def wrong_arguments_on_a_loop() -> None:
    await send.aenqueue("1")  # type: ignore[arg-type]
    await send.options(delay=60).aenqueue(1, subjekt="hi")  # type: ignore[call-arg]
    send.aenqueue(1)  # type: ignore[unused-coroutine]


def wrong_options() -> None:
    send.options(dealy=60)  # type: ignore[call-arg]
    send.options(delay="60")  # type: ignore[arg-type]
    send.options(at=60)  # type: ignore[arg-type]
    app.queue("mail", order="random")  # type: ignore[arg-type]


def wrong_results() -> tuple[int, Job[int]]:
    number: int = send.enqueue(1).result()  # type: ignore[assignment]
    job: Job[int] = fetch.enqueue("u")  # type: ignore[assignment]
    return number, job


@app.task(quue="mail")  # type: ignore[call-overload, untyped-decorator]
def misspelt() -> None: ...


@app.task(delay=60)  # type: ignore[call-overload, untyped-decorator]
def delayed_by_default() -> None: ...


@app.around_run  # type: ignore[type-var]
def no_generator(job: object) -> None: ...
