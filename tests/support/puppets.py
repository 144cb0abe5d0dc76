"""Processes that take one step and are killed in the middle of it: dozens in a second.

    with Puppets() as puppets:
        proxy.strike("between", is_script("ack"), puppets.kill)
        assert puppets.play(proxy.url, prefix, "ack") == -signal.SIGKILL

One interpreter with everything loaded and without threads, which forks itself for each step.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

QUEUE = "q"


class Puppets:
    """The parent of all puppets. For one thread at a time."""

    def __init__(self) -> None:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.puppets"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )

    def play(self, url: str, prefix: str, sample: str) -> int:
        """Have a puppet take the step `EVERY_STEP[sample]` on the queue `q`; its exit code, or -signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([url, prefix, sample]) + "\n")
        self._process.stdin.flush()
        return os.waitstatus_to_exitcode(int(self._process.stdout.readline()))

    @staticmethod
    def kill(pid: int) -> None:
        """SIGKILL."""
        os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _take_a_step(url: str, prefix: str, sample: str) -> None:
    from ferryman.store import Store
    from tests.support.schedule_samples import EVERY_STEP

    store = Store(url, prefix=prefix, timeout_s=10, patience_s=10)
    store.run(EVERY_STEP[sample](store.keys(QUEUE)))
    store.pool.command("ECHO", "the reply has arrived")


def main() -> None:
    """Fork a puppet for each line, and say how it ended."""
    from tests.support import schedule_samples  # what a puppet needs is loaded once, here

    del schedule_samples
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                _take_a_step(*json.loads(line))
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        print(status, flush=True)  # noqa: T201 (that is how it answers)


if __name__ == "__main__":
    main()
