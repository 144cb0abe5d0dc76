"""The server's clock as a scheduler knows it between two answers: monotonic time and an offset."""

from __future__ import annotations

import time

_OLD_MS = 10_000.0


class ServerClock:
    """Server time to within half the quickest round trip of the last seconds. Setting the host's clock does
    not touch it; setting the server's is learned with the next answer.
    """

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - self.mono_ms()
        self._doubt_ms = float("inf")
        self._learned_ms = 0.0

    @staticmethod
    def mono_ms() -> float:
        """Monotonic milliseconds."""
        return time.monotonic_ns() / 1e6

    def now_ms(self) -> float:
        """Milliseconds since the epoch, by the server's clock."""
        return self.mono_ms() + self._offset_ms

    def learn(self, server_ms: int, asked_ms: float) -> None:
        """Take the time from a reply to what was sent at `asked_ms` (monotonic). Slow ones tell little."""
        got = self.mono_ms()
        doubt = (got - asked_ms) / 2 + 0.5  # the server tells whole milliseconds
        offset = server_ms + 0.5 - (asked_ms + got) / 2
        jumped = abs(offset - self._offset_ms) > doubt + self._doubt_ms + 1
        if doubt <= self._doubt_ms or jumped or got - self._learned_ms > _OLD_MS:
            self._offset_ms, self._doubt_ms, self._learned_ms = offset, doubt, got
