"""Real fleets for tests: ``ferryman worker`` as a process of its own, and the app to feed it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ferryman import Ferryman
from ferryman.worker import notes
from ferryman.worker.notes import Note
from tests.integration.worker_jobs import tasks_on
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


class Fleet:
    """A supervisor with its processes, on the queue ``default``. It ends with the ``with`` block."""

    def __init__(self, url: str, prefix: str, *words: str, **settings: Any) -> None:
        settings = {"lease_s": 3.0, "kill_after_s": 0.4, "timeout_s": 2.0, **settings}
        self.app = Ferryman(url, prefix=prefix, patience_s=5.0, **settings)
        self.tasks = tasks_on(self.app)
        environment = {
            **os.environ,
            "FERRYMAN_TEST_FLEET": "1",
            "FERRYMAN_URL": url,
            "FERRYMAN_PREFIX": prefix,
            "PYTHONPATH": str(ROOT),
            **{f"FERRYMAN_{name.upper()}": str(value) for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "ferryman", "worker", "tests.integration.worker_jobs:app", *words]
        # Not a pipe: one that nobody reads would stop the fleet when it is full.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stderr=self._errors, process_group=0
        )

    def errors(self) -> str:
        """What it wrote to stderr so far."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def wait_ready(self, processes: int = 1) -> Self:
        """Wait until so many processes hold a lease."""
        wait_until(lambda: len(self.leases()) >= processes, 20, "the fleet is ready")
        return self

    def leases(self) -> set[str]:
        """The holders that have a lease on the queue."""
        keys = self.app.store.keys("default")
        found: Any = self.app.store.pool.command("ZRANGE", keys.workers, 0, -1)
        return {item.decode() for item in found}

    def pids(self) -> set[int]:
        """The worker processes that have a lease."""
        return {int(holder.rsplit("-", 2)[1]) for holder in self.leases()}

    def notes(self) -> list[Note]:
        """What the processes say of themselves."""
        keys, command = self.app.store.fleet_keys, self.app.store.pool.command
        found = [command("GET", keys.worker(name.decode())) for name in command("ZRANGE", keys.fleet, 0, -1)]
        return [notes.decode(record) for record in found if record is not None]

    def send(self, number: signal.Signals) -> None:
        """A signal for the supervisor."""
        self.process.send_signal(number)

    def end(self, timeout: float = 30) -> tuple[int, str]:
        """Wait for its end; the exit code and what it wrote to stderr."""
        return self.process.wait(timeout), self.errors()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if error is not None:
            sys.stderr.write(self.errors())
        self._errors.close()
        self.app.close()
