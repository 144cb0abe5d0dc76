"""The hot path has a budget: what a worker may do for each job that asks for nothing special."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from ferryman import Ferryman
from ferryman.worker.inprocess import InProcessWorker
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

JOBS = 2000
MOST_FUNCTIONS = 20
MOST_FILES = 7


def test_a_job_costs_few_functions_in_few_files(server: RedisServer, prefix: str) -> None:
    app = Ferryman(server.url, prefix=prefix)
    calls: Counter[tuple[str, str]] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    @app.task
    def noop(number: int, name: str) -> None:
        """Ask for nothing."""

    noop.enqueue_many([(number, "name") for number in range(JOBS)])
    threading.setprofile(count)
    try:
        with InProcessWorker(app, threads=4) as worker:
            wait_until(
                lambda: worker.done >= JOBS,
                30,
                lambda: f"all done, not {worker.done}: {app.queue('default').info()}",
            )
    finally:
        threading.setprofile(None)
        app.close()

    each = {place: total / JOBS for place, total in calls.items() if total >= JOBS / 2}
    table = "\n".join(f"{cost:6.2f}  {name} ({Path(file).name})" for (file, name), cost in each.items())
    assert sum(each.values()) <= MOST_FUNCTIONS, table
    assert len({file for file, _ in each}) <= MOST_FILES, table
    assert sum(calls.values()) / JOBS <= MOST_FUNCTIONS, "what is done for each batch adds up as well"
    sys.stdout.write(f"{table}\nin all {sum(calls.values()) / JOBS:.2f} calls a job\n")
