"""The demo's workers: started as anybody would start them, watched from outside, and one of them killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ferryman import Ferryman
from ferryman.cli.workers import fleet
from ferryman.worker.notes import Note

HERE = Path(__file__).parent
QUEUE = "index"
GIVEN_BACK_S = 30.0


@dataclass
class Killed:
    """What a killed process left."""

    pid: int
    held: int
    """Jobs in its hands when it was killed."""
    at: float
    """When, on the monotonic clock."""
    given_back_ms: float
    known: set[str]
    """The workers until then, itself included."""


class Fleet:
    """``ferryman worker indexer`` as a process of its own."""

    def __init__(self, app: Ferryman, processes: int, threads: int, log: Path) -> None:
        self._app = app
        self._log_path = log
        self._command = [
            sys.executable, "-m", "ferryman", "worker", "indexer", "-q", f"clock,{QUEUE}",
            "-p", str(processes), "-t", str(threads), "--log-level", "warning",
        ]  # fmt: skip
        self._log: IO[bytes] | None = None
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> str:
        """What was typed, so to say."""
        return " ".join(["ferryman", *self._command[3:]])

    def start(self) -> None:
        """Start the supervisor, which starts the workers."""
        self._started = time.monotonic()
        self._log = self._log_path.open("wb")
        self._process = subprocess.Popen(
            self._command, cwd=HERE, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    def check(self) -> None:
        """Raises `RuntimeError` if the supervisor has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            tail = "\n".join(self._log_path.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"the workers ended with exit code {code}:\n{tail}")

    def workers(self) -> list[Note]:
        """What each worker says of itself."""
        return fleet(self._app)

    def alive(self) -> set[str]:
        """Names of the workers that have a lease on the queue now."""
        keys = self._app.store.keys(QUEUE)
        names = self._app.store.pool.command(
            "ZRANGEBYSCORE", keys.workers, self._app.store.server_ms(), "+inf"
        )
        return {name.decode() for name in names}

    def kill_one(self, before: Callable[[int, int], None]) -> Killed | None:
        """SIGKILL the worker process that holds the most jobs, and wait until nothing is in its hands.

        `before` is told its process id and how many jobs it holds.
        """
        pool, keys = self._app.store.pool, self._app.store.keys(QUEUE)
        while not (notes := self.workers()) and time.monotonic() - self._started < GIVEN_BACK_S:
            self.check()
            time.sleep(0.05)
        holding = [(int(pool.command("SCARD", keys.held(note.id))), note) for note in notes]
        if not holding:
            return None
        held, victim = max(holding, key=lambda pair: pair[0])
        known = self.alive() | {victim.id}
        before(victim.pid, held)
        os.kill(victim.pid, signal.SIGKILL)
        start = time.monotonic()
        while pool.command("EXISTS", keys.held(victim.id)):
            self.check()
            if time.monotonic() - start > GIVEN_BACK_S:
                raise RuntimeError(
                    f"the killed worker's jobs were not given back within {GIVEN_BACK_S:.0f} s"
                )
            time.sleep(0.001)
        return Killed(victim.pid, held, start, (time.monotonic() - start) * 1000, known)

    def stop(self) -> int:
        """SIGTERM: finish, give back, go. Gives the exit code."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._log is not None:
            self._log.close()
        return code
