"""The app whose schedules are measured. They are kept by the harness; this only says where Redis is."""

import os

from benchmarks.systems.base import URL_VARIABLE
from ferryman import Ferryman

app = Ferryman(os.environ[URL_VARIABLE], prefix="bench")


@app.task(name="noop")
def noop() -> None:
    """Nothing: no worker runs."""
