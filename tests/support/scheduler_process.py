"""Schedulers as a user starts them, ``python -m ferryman scheduler ...``: found, hurt, always cleaned up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ferryman.store import Store
from tests.support.server import _guard
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


class SchedulerProcess:
    """One scheduler."""

    def __init__(
        self,
        url: str,
        prefix: str,
        module: str,
        *words: str,
        lease: str = "2s",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)
        command = [sys.executable, "-m", "ferryman", "scheduler", module, "--lease", lease]
        self._process = subprocess.Popen(
            [*command, "--log-format", "human", *words], cwd=ROOT,
            env={**os.environ, "FERRYMAN_URL": url, "FERRYMAN_PREFIX": prefix, "PYTHONPATH": str(ROOT),
                 **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, process_group=0,
        )  # fmt: skip
        _guard.tell(f"+{self.pid}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def output(self) -> str:
        """What it wrote so far."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait_up(self) -> Self:
        """Wait until it has synchronised and takes turns."""
        wait_until(
            lambda: "schedules of code" in self.output() or self._process.poll() is not None, 40,
            self.output,
        )  # fmt: skip
        assert self._process.poll() is None, self.output()
        return self

    def end(self, timeout: float = 30) -> int:
        """SIGTERM, and its exit code."""
        self.send(signal.SIGTERM)
        return self._process.wait(timeout)

    def close(self) -> None:
        """Kill it if it still runs."""
        self.send(signal.SIGCONT)
        self._process.kill()
        self._process.wait(10)
        _guard.tell(f"-{self.pid}")
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(f"-- output of scheduler {self.pid}\n{self.output()[-10_000:]}\n")
        self.close()


def leader_of(store: Store) -> str:
    """The name of the scheduler that leads; empty while none does. It ends with ``-<pid>-<random>``."""
    held = store.pool.command("GET", store.fleet_keys.leader)
    return held.decode().partition(" ")[2] if held else ""
