"""The app of the chaos tests of schedulers: its jobs write down that they ran, and why."""

from __future__ import annotations

import time

from ferryman import Ferryman

app = Ferryman()


@app.task(name="note", result_ttl=600)
def note() -> int:
    return 1


@app.task(name="linger")
def linger() -> None:
    """Runs until it is cancelled."""
    while True:
        time.sleep(0.02)


for _number in range(5):
    app.schedule("note", name=f"second-{_number}", every="1s", grace="2m", options={"queue": "clock"})
app.schedule("note", name="catch-up", every="1s", misfire="run_all", grace="5s", options={"queue": "clock"})
