"""A task, a job, a result.

    ferryman worker examples/quickstart.py        # in one terminal
    python examples/quickstart.py                 # in another

Jobs are kept where FERRYMAN_URL says, by default in a Redis on this machine; ``embedded://./data``
needs none.
"""

from ferryman import Ferryman, Retry

app = Ferryman()


@app.task(queue="mail", retry=Retry(5), timeout=30)
def send_welcome(user_id: int, language: str = "en") -> str:
    """Pretends to send a mail."""
    greeting = {"en": "Welcome", "de": "Willkommen", "fr": "Bienvenue"}[language]
    return f"{greeting}, user {user_id}!"


def main() -> None:
    # Once this returns, Redis has the job: it survives this process, and the death of any worker.
    job = send_welcome.enqueue(42, language="de")
    print(f"{job.id} is {job.state}")
    print(job.result(timeout=10))

    # Options of one call stand apart from the arguments, so neither can be taken for the other.
    later = send_welcome.options(delay=60, priority=5).enqueue(43)
    print(f"{later.id} runs in a minute, unless it is cancelled: {later.cancel()}")

    # Five hundred jobs a round trip.
    jobs = send_welcome.enqueue_many([(user_id,) for user_id in range(1000)])
    print(f"{len(jobs)} jobs more; the last says {jobs[-1].result(timeout=60)!r}")


if __name__ == "__main__":
    main()
