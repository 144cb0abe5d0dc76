"""A command that is started again when code changes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ferryman.cli.display import stderr_line


class Restarting:
    """Starts a command again when a Python file changes.

    One that was told to end and has not after `patience_s` is killed.
    """

    def __init__(
        self, command: Sequence[str], folders: Sequence[str], reload: bool, patience_s: float
    ) -> None:
        self._command = list(command)
        self._folders = [folder for folder in folders if Path(folder).is_dir()]
        self._reload = reload
        self._patience_s = patience_s
        self._over = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until INT or TERM, or without reload until the command ends. Gives the command's exit code."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._start()
            if self._reload:
                self._watch()
            return self._end()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        # Its own process group: a Ctrl-C reaches it through us, once, and not twice.
        self._child = subprocess.Popen(self._command, process_group=0)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._over.set()
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)

    def _watch(self) -> None:
        from watchfiles import PythonFilter
        from watchfiles import watch as changes_in

        told = restarted = False
        for changes in changes_in(
            *self._folders, watch_filter=PythonFilter(), stop_event=self._over, yield_on_timeout=True,
            rust_timeout=300, raise_interrupt=False,
        ):  # fmt: skip
            if self._over.is_set():
                return
            if changes:
                names = sorted({os.path.relpath(path) for _, path in changes})
                stderr_line(
                    f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''} changed: starting again"
                )
                self._tell(signal.SIGTERM)
                self._end(self._patience_s)
                self._start()
                told, restarted = False, True
            elif not told and self._child is not None and self._child.poll() is not None:
                if not restarted:
                    return  # it has never run: the mistake is in the command, not in a change
                stderr_line(
                    f"the worker ended with {self._child.returncode}; it starts again on the next change"
                )
                told = True

    def _end(self, patience_s: float | None = None) -> int:
        """Wait for the command's end, for ever or until it is killed for being too slow."""
        assert self._child is not None  # noqa: S101 (it was started)
        left_s = patience_s
        while True:
            try:
                return self._child.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                if self._over.is_set() and left_s is None:
                    left_s = self._patience_s
                if left_s is not None:
                    left_s -= 0.2
                    if left_s < 0:
                        self._child.kill()
