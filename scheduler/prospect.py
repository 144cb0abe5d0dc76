"""What the schedules of one queue have before them: the ticks of the next seconds, made ready in advance.

A tick's job is prepared while there is nothing else to do, so that at the due moment only a script call is
left. The view is a copy: Redis decides, by the hands of each schedule, whether what was prepared still holds.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field

from ferryman.errors import PayloadCorrupt
from ferryman.schedules.definition import Definition
from ferryman.schedules.record import Hands, decode
from ferryman.store.keys import QueueKeys
from ferryman.store.scheduling import Coming, Firing, Outlook

AHEAD_MS = 4000
"""How far a look reaches."""
RENEW_MS = 1500
"""A look is taken so much before the last one's reach is over."""
_order = itertools.count()


@dataclass(slots=True)
class Ready:
    """A schedule whose next tick is known."""

    name: str
    due_ms: int
    definition: Definition
    hands: Hands
    firing: Firing | None = None
    """What happens if the tick is on time."""

    @property
    def nominal_ms(self) -> int:
        """The tick's nominal time."""
        return self.hands.next_ms or 0


class Over(Exception):
    """The schedule has no more ticks, or is none: it is to be forgotten."""


class Moving(Exception):
    """The schedule has to leave its old queue before it may tick here."""


def ready(coming: Coming) -> Ready:
    """The schedule in what Redis keeps. Raises `Over`, `Moving`, or a `FerrymanError` if unreadable."""
    if coming.record is None:
        raise Over
    record, hands = decode(coming.record), Hands.read(coming.hands)
    if coming.hands is None:
        raise PayloadCorrupt(f"schedule {coming.name!r} has a record, and no hands")
    if record.moved_from:
        raise Moving
    if hands.next_ms is None or not record.ticks:
        raise Over
    return Ready(coming.name, coming.due_ms, record.definition(), hands)


@dataclass(eq=False)
class Prospect:
    """The view of one queue."""

    keys: QueueKeys
    covered_ms: float = 0.0
    """Every tick that is due until then is in view."""
    stale: bool = True
    resting_until_ms: float = 0.0
    """After an error of this queue alone."""
    unread: deque[Coming] = field(default_factory=deque)
    owed: dict[str, int] = field(default_factory=dict)
    overtaken: set[str] = field(default_factory=set)
    _heap: list[tuple[int, int, Ready]] = field(default_factory=list)

    def wants_look(self, now_ms: float) -> bool:
        """Whether Redis is to be asked again."""
        if now_ms < self.resting_until_ms:
            return False
        return self.stale or now_ms >= self.covered_ms - RENEW_MS

    def next_look_ms(self, now_ms: float) -> float:
        """When that will be so."""
        at = now_ms if self.stale else self.covered_ms - RENEW_MS
        return max(at, self.resting_until_ms)

    def refresh(self, pages: list[Outlook], now_ms: float) -> None:
        """Take over what a look has found; what was made ready already is kept where it still holds."""
        known = {entry.name: entry for _, _, entry in self._heap}
        self._heap.clear()
        self.unread.clear()
        for page in pages:
            for coming in page.coming:
                before = known.get(coming.name)
                if (
                    before is not None
                    and before.due_ms == coming.due_ms
                    and coming.hands == before.hands.text().encode()
                ):
                    self.add(before)
                else:
                    self.unread.append(coming)
        self.owed = dict(pages[0].owed)
        self.overtaken = set(pages[0].overtaken)
        last = pages[-1].next_due_ms
        reach = now_ms + AHEAD_MS
        self.covered_ms = min(reach, last) if last is not None else reach
        self.stale = False

    def add(self, entry: Ready) -> None:
        """A tick to come. One beyond the view's reach is left to a later look."""
        heapq.heappush(self._heap, (entry.due_ms, next(_order), entry))

    def due(self, now_ms: float) -> list[Ready]:
        """Take out those whose moment has come, the earliest first."""
        found = []
        while self._heap and self._heap[0][0] <= now_ms:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def next_due_ms(self) -> float:
        """When the next tick that is ready is due."""
        return self._heap[0][0] if self._heap else float("inf")

    def unprepared(self) -> Ready | None:
        """A tick in view whose job is not made yet."""
        while self._waiting:
            entry = self._waiting.popleft()
            if entry.firing is None:
                return entry
        return None

    _waiting: deque[Ready] = field(default_factory=deque)

    def await_preparation(self, entry: Ready) -> None:
        """Have its job made when there is time."""
        self._waiting.append(entry)

    def forget(self) -> None:
        """Know nothing any more."""
        self._heap.clear()
        self.unread.clear()
        self._waiting.clear()
        self.owed.clear()
        self.overtaken.clear()
        self.stale = True
