"""How many jobs a process should have in hand beyond those that run: as many as it will finish in a moment,
and none that would have to wait."""

from __future__ import annotations

HORIZON_S = 0.03
"""A job in the buffer should start within about this time."""
MOST = 2000
STALE_NS = 100_000_000
"""A job that has sat in the buffer for so long, while every slot is busy, is given back for others to take.
"""
_SMOOTHING_S = 0.1


class Prefetch:
    """Measures how fast one kind of slot finishes jobs, and says how many to fetch ahead."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.in_hand = 0
        """Jobs that were fetched and are not done."""
        self._rate = 0.0
        self._since_ns = 0

    def begun(self, count: int, now_ns: int) -> None:
        """So many jobs came in. If the slots were idle, the time until now says nothing about their speed."""
        if not self.in_hand:
            self._since_ns = now_ns
        self.in_hand += count

    def finished(self, count: int, now_ns: int) -> None:
        """So many jobs are done since the last call."""
        self.in_hand -= count
        elapsed_s = (now_ns - self._since_ns) / 1e9
        self._since_ns = now_ns
        if elapsed_s > 0:
            self._rate += (count / elapsed_s - self._rate) * min(elapsed_s / _SMOOTHING_S, 1.0)

    def room(self) -> int:
        """How many more jobs to have in hand."""
        return self.slots + min(MOST, int(self._rate * HORIZON_S)) - self.in_hand if self.slots else 0

    def stuck(self) -> None:
        """Jobs in the buffer got no slot in time: fetch nothing ahead until jobs finish faster."""
        self._rate = 0.0
