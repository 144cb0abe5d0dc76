"""The numbers of what a holder settles in one queue, by which Redis tells a call that was carried out before
from a new one.
"""

from __future__ import annotations

from typing import Any

from ferryman.store import Transition, transitions


class Lanes:
    """Of one holder, in one queue.

    One number for all would not do. Several calls travel together, and Redis may carry out a later one and
    not an earlier one: it met a key of the wrong type, or a script that the server did not know. If then the
    connection is lost, the earlier call, said again, would be taken for one that was carried out. So a call
    has a lane for itself until it is known to be. There are never more lanes than calls under way, and nearly
    always that is one.
    """

    __slots__ = ("_free", "_last", "_made")

    def __init__(self) -> None:
        self._free: list[str] = []
        self._made = 0
        self._last = 0

    def enter(self, settlement: Transition[Any]) -> None:
        """Give a new call its lane and its number. Said again, it keeps both."""
        if self._free:
            lane = self._free.pop()
        else:
            lane = str(self._made)
            self._made += 1
        self._last += 1
        transitions.number(settlement, lane, self._last)

    def leave(self, settlement: Transition[Any]) -> None:
        """It is known to be carried out: its lane is free."""
        self._free.append(transitions.lane_of(settlement))
