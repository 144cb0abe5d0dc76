"""The server's clock, as a worker knows it without asking: each fetch tells the time."""

from __future__ import annotations

import time

_TRUST_NS = 10_000_000_000


class ServerClock:
    """Server time from this process's monotonic clock, which nobody can set."""

    def __init__(self) -> None:
        self.offset_ms = int(time.time() * 1000) - time.monotonic_ns() // 1_000_000
        """Server time minus monotonic time."""
        self._learned_ns = -_TRUST_NS

    def now_ms(self) -> int:
        """Milliseconds since the epoch, by the server's clock."""
        return time.monotonic_ns() // 1_000_000 + self.offset_ms

    def learn(self, server_ms: int, asked_ns: int) -> None:
        """Take the time from a reply to what was asked at `asked_ns`, every few seconds."""
        now = time.monotonic_ns()
        if now - self._learned_ns > _TRUST_NS:
            self.offset_ms = server_ms - (asked_ns + now) // 2_000_000
            self._learned_ns = now
