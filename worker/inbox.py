"""What other threads want of a loop that sleeps: calls that it makes in its own thread."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable

Errand = Callable[[], None]


class Inbox:
    """Calls for a loop that waits on file descriptors, this among them."""

    def __init__(self) -> None:
        self._errands: deque[Errand] = deque()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """To wait on."""
        return self._read

    def put(self, errand: Errand) -> None:
        """Have this called soon. From any thread."""
        self._errands.append(errand)
        with contextlib.suppress(OSError):  # it is full of calls to wake up, or closed
            os.write(self._write, b"\0")

    def take(self) -> list[Errand]:
        """What has come."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        found = []
        while self._errands:
            found.append(self._errands.popleft())
        return found

    def close(self) -> None:
        """Take nothing more."""
        read, write, self._read, self._write = self._read, self._write, -1, -1
        os.close(read)
        os.close(write)
