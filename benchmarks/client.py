"""The harness's handle on a producer process."""

from __future__ import annotations

import json
import selectors
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.environments import Environment
from benchmarks.errors import BenchmarkError
from benchmarks.processes import start, stop

START_DEADLINE_S = 30.0


class Producer:
    """Sends requests to `benchmarks.producer` in a system's environment, each with a deadline."""

    def __init__(self, app: str, home: Environment, variables: dict[str, str], log: Path) -> None:
        self._app, self._home, self._variables, self._log = app, home, variables, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [str(self._home.python), "-m", "benchmarks.producer", self._app]
        self._process = start(command, log=self._log, environment=self._variables, piped=True)
        # Imports and the first connection are not part of any measurement.
        self.ask(START_DEADLINE_S, do="ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            stop([self._process])
            self._process.stdout.close()

    def ask(self, deadline_s: float, **request: Any) -> dict[str, Any]:
        """Send one request and return its answer. Raises BenchmarkError if it fails or takes too long."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            if not waiting.select(deadline_s):
                raise BenchmarkError(
                    f"{self._app}: {request['do']} took over {deadline_s:.0f} s: see {self._log}"
                )
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{self._app}: the producer ended: see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(f"{self._app}: {request['do']} failed:\n{answer['error']}")
        return answer
