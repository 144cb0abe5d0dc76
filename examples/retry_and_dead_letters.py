"""What becomes of jobs that fail: retries, asked-for retries, snoozes, rejections, and the dead letters.

ferryman worker examples/retry_and_dead_letters.py
python examples/retry_and_dead_letters.py enqueue
python examples/retry_and_dead_letters.py dead        # after some seconds
python examples/retry_and_dead_letters.py revive
"""

import sys

from ferryman import Ferryman, Reject, Retry, Snooze, current_job

app = Ferryman()
open_accounts = {1: "anna", 2: "bert"}


class BankIsDown(Exception):
    """The bank does not answer; it will."""


@app.task(queue="payments", retry=Retry(4, base=1, max_delay=60, on=BankIsDown))
def pay(account: int, cents: int) -> str:
    """Pretends to move money. Each ending below is one that a job can have."""
    if account not in open_accounts:
        raise Reject(f"account {account} does not exist")  # no retry can help: dead at once
    if cents > 1_000_000:
        raise ValueError("too much for one transfer")  # not among the errors that are retried: dead
    if cents == 503 and current_job().attempt < 3:
        raise BankIsDown  # retried after 1, 2, 4, 8 seconds at most
    if cents == 429 and current_job().attempt == 1:
        raise Retry(delay=3)  # the bank said when to come again
    return f"{open_accounts[account]} got {cents / 100:.2f}"


@app.task(queue="payments")
def close_day(hour: int) -> str:
    """Puts itself off until it is time. A snooze is no attempt."""
    if hour < 18:
        raise Snooze(3600, reason="the day is not over")
    return "closed"


def enqueue() -> None:
    for account, cents in [(1, 1999), (2, 503), (2, 429), (3, 5000), (1, 2_000_000)]:
        job = pay.options(id=f"payment-{account}-{cents}", tags=["demo"]).enqueue(account, cents)
        print(f"enqueued {job.id}")


def dead() -> None:
    for job in app.queue("payments").jobs("dead"):
        info = job.info()
        print(f"{info.id} {info.task}{info.args}: {info.error} (attempt {info.attempt})")


def revive() -> None:
    for job in app.queue("payments").jobs("dead"):
        print(f"{job.id} gets all its attempts again: {job.retry()}")


if __name__ == "__main__":
    {"enqueue": enqueue, "dead": dead, "revive": revive}[(sys.argv[1:] or ["enqueue"])[0]]()
