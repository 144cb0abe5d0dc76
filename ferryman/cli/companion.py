"""A second process beside a command's own work, kept alive for as long as that runs."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

logger = logging.getLogger("ferryman")

SETTLED_S = 60.0
LONGEST_PAUSE_S = 30.0
HOPELESS = frozenset({2, 3})
"""Exit codes that another try would end with as well: a wrong command, no app."""


class Companion:
    """Starts a command, and starts it again when it ends, after growing pauses. At the end it is told to
    leave, and killed if it has not after `grace_s`.
    """

    def __init__(self, command: Sequence[str], name: str, grace_s: float = 5.0) -> None:
        self._command, self._name, self._grace_s = list(command), name, grace_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"ferryman-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with self._lock:
            if self._process is not None:
                self._process.terminate()
        self._thread.join(self._grace_s)
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
        self._thread.join(5)

    def _keep(self) -> None:
        pause_s = 0.5
        while not self._over.is_set():
            started = time.monotonic()
            with self._lock:
                if self._over.is_set():
                    return
                # Its own process group: what a terminal sends reaches it through us, once.
                self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, process_group=0)
            code = self._process.wait()
            if self._over.is_set():
                return
            if code in HOPELESS:
                logger.critical("the %s ended with %d and is not started again; see above", self._name, code)
                return
            pause_s = 0.5 if time.monotonic() - started > SETTLED_S else min(pause_s * 2, LONGEST_PAUSE_S)
            logger.error("the %s ended with %d; it starts again in %.1f s", self._name, code, pause_s)
            self._over.wait(pause_s)
