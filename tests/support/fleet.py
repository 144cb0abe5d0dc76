"""A fleet as a user starts it, ``python -m ferryman worker ...``: found, hurt and always cleaned up.

    with Fleet(server.url, prefix, "tests.chaos.jobs:app", processes=2, threads=4) as fleet:
        fleet.wait_ready(lambda: app.queue("default").info().workers == 2)
        fleet.send(signal.SIGKILL, fleet.worker_pids()[0])
        assert fleet.terminate() == 0, fleet.output()

Every process of a fleet carries a token in its environment, so that its workers are found and ended also when
their supervisor is gone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.support.server import _guard
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
TOKEN = "FERRYMAN_TEST_FLEET_TOKEN"
READY_S = 40.0
END_S = 40.0


class Fleet:
    """A supervisor and its worker processes. Leaves nothing behind, however the test ends."""

    def __init__(
        self,
        url: str,
        prefix: str,
        module: str,
        *,
        queues: str = "default",
        processes: int = 1,
        threads: int = 4,
        words: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        home: Path = ROOT,
        **settings: Any,
    ) -> None:
        self.processes = processes
        self._token = secrets.token_hex(8)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)
        self._said = ""
        command = [sys.executable, "-m", "ferryman", "worker", module, "-q", queues]
        command += ["-p", str(processes), "-t", str(threads), "--log-format", "human", *words]
        self._supervisor = subprocess.Popen(
            command,
            cwd=home,
            env={
                **os.environ,
                "FERRYMAN_URL": url,
                "FERRYMAN_PREFIX": prefix,
                "PYTHONPATH": f"{home}{os.pathsep}{ROOT}",
                TOKEN: self._token,
                **{f"FERRYMAN_{name.upper()}": str(value) for name, value in settings.items()},
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            process_group=0,
        )
        _guard.tell(f"+{self.pid}")

    # -- finding ---------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._supervisor.pid

    def pids(self) -> list[int]:
        """Every live process of the fleet, the supervisor first if it lives."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(TOKEN) == self._token and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return sorted(found, key=lambda pid: pid != self.pid)

    def worker_pids(self) -> list[int]:
        """The live worker processes."""
        return [pid for pid in self.pids() if pid != self.pid]

    def wait_ready(self, ready: Callable[[], object]) -> Self:
        """Wait until `ready()` is true; an error with the fleet's output if it ends before that."""

        def ready_or_dead() -> bool:
            return self._supervisor.poll() is not None or bool(ready())

        wait_until(ready_or_dead, READY_S, lambda: f"the fleet is ready\n{self.output()}")
        assert self._supervisor.poll() is None, f"the fleet ended:\n{self.output()}"
        return self

    def output(self) -> str:
        """What all its processes wrote so far."""
        if self._output.closed:
            return self._said
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def ended(self) -> bool:
        """Whether the supervisor has."""
        return self._supervisor.poll() is not None

    # -- hurting ---------------------------------------------------------------------------------------------

    def send(self, number: signal.Signals, pid: int | None = None) -> None:
        """A signal for one process, the supervisor by default; nothing happens if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid if pid is None else pid, number)

    def wait_gone(self, pid: int) -> None:
        """Wait until one of its processes has ended."""
        wait_until(lambda: self._ended(pid), END_S, f"process {pid} has ended")

    def _ended(self, pid: int) -> bool:
        if pid == self.pid:
            return self._supervisor.poll() is not None
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT for the whole process group, as a terminal sends it."""
        os.killpg(self.pid, signal.SIGINT)

    def send_all(self, number: signal.Signals) -> None:
        """A signal for every process, the supervisor first."""
        for pid in self.pids():
            self.send(number, pid)

    # -- ending ----------------------------------------------------------------------------------------------

    def end(self, timeout: float = END_S) -> int:
        """Wait until the supervisor and all workers have ended; the supervisor's exit code."""
        try:
            code = self._supervisor.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the fleet did not end within {timeout:g} s:\n{self.output()}") from None
        wait_until(lambda: not self.pids(), timeout, lambda: f"workers have ended\n{self.output()}")
        return code

    def terminate(self, timeout: float = END_S) -> int:
        """SIGTERM, and wait for the end; the exit code."""
        self.send(signal.SIGTERM)
        return self.end(timeout)

    def close(self) -> None:
        """Kill whatever is left. Safe to call twice."""
        deadline = time.monotonic() + 10
        while (left := self.pids()) and time.monotonic() < deadline:
            for pid in left:
                self.send(signal.SIGKILL, pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._supervisor.wait(0.05)
        self._supervisor.wait(10)
        _guard.tell(f"-{self.pid}")
        self._said = self.output()
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(f"-- output of fleet {self.pid}\n{self.output()[-20_000:]}\n")
        self.close()
