"""Schedules: a nightly run that knows which day it is for, a poll that never overlaps, and a one-off.

ferryman worker examples/schedules.py --with-scheduler
ferryman schedules                 # what runs when
python examples/schedules.py       # make up for last week's nightly runs
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ferryman import Ferryman, current_job

app = Ferryman()
BERLIN = ZoneInfo("Europe/Berlin")


@app.cron(
    "30 2 * * mon-fri", name="nightly", tz="Europe/Berlin", overlap="skip_if_running", misfire="run_all"
)
@app.task(queue="billing")
def bill() -> str:
    """Covers the time from the tick before to this one, whenever it really runs."""
    tick = current_job().tick
    if tick is None or tick.previous is None:
        return "run by hand: nothing to bill"
    return f"billed {tick.previous:%a %d %H:%M} to {tick.nominal:%a %d %H:%M}, UTC"


@app.every("20s", name="poll", jitter="5s", unless_fresh="15s", overlap="queue_one")
def poll() -> None:
    """Asks somebody for news."""


app.schedule(bill, name="year-end", at="2030-12-31T23:00", tz="Europe/Berlin")


def main() -> None:
    """Enqueue last week's nightly runs; those that have run already are left alone."""
    today = datetime.now(BERLIN).replace(hour=0, minute=0, second=0, microsecond=0)
    for job in app.schedules.backfill("nightly", today - timedelta(days=7), today):
        print(f"enqueued {job.id}")


if __name__ == "__main__":
    main()
