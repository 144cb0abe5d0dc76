"""What a scheduler sleeps on: one connection that blocks on a bell, so that nothing is polled."""

from __future__ import annotations

import time

from ferryman.errors import StoreError
from ferryman.store import Link

BLOCK_S = 5
_OVERDUE_S = BLOCK_S + 2


class Bell:
    """Blocks on a bell without blocking the thread: `arm` sends, `fileno` says when there is an answer."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._armed = ""
        self._since = 0.0

    def arm(self, key: str) -> None:
        """Listen to this bell, if to none. Raises a `StoreError`."""
        if self._armed and time.monotonic() - self._since > _OVERDUE_S:
            self.close()  # however quiet it is, the connection is dead
        if self._armed and self._armed != key:
            self.close()
        if not self._armed:
            self._link.send("BLPOP", key, BLOCK_S)
            self._armed, self._since = key, time.monotonic()

    def fileno(self) -> int:
        """The socket, to wait on. Raises `StoreUnavailable`."""
        return self._link.fileno()

    def hear(self) -> bool:
        """Whether it rang; otherwise its time was over. Raises a `StoreError`."""
        try:
            return self._link.receive() is not None
        except StoreError:
            self.close()
            raise
        finally:
            self._armed = ""

    def close(self) -> None:
        """Drop the connection. A ring that was on its way is lost, so look afterwards."""
        self._armed = ""
        self._link.close()
