"""The clock of a store that lives in the test's own process."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from ferryman.errors import ConfigurationError, InvalidOption
from ferryman.store import Store
from ferryman.store.memory import MemoryPool
from ferryman.store.sync import Operation


class PrivateStore(Store):
    """A ``memory://`` store of one test, whose time moves as the test says."""

    def __init__(self, *, prefix: str, timeout_s: float) -> None:
        super().__init__("memory://", prefix=prefix, timeout_s=timeout_s, patience_s=0)
        if not isinstance(self.pool, MemoryPool):
            raise ConfigurationError("memory:// gave a store that is not in memory")
        self.memory = self.pool
        self._asking = threading.Lock()
        self._last_ms = 0

    def clock_is_known(self) -> bool:
        return True

    def server_ms(self) -> int:
        """The scripts' time. No two answers are equal unless the clock was moved back, so that ids, which
        begin with the time, sort in the order of their making.
        """
        with self._asking:
            now = self.memory.now_ms()
            # Half a minute is more than any number of calls makes up; what is further off was set back.
            ahead = 0 <= self._last_ms - now < 30_000
            self._last_ms = self._last_ms + 1 if ahead else now
            return self._last_ms

    def clock(self) -> Operation[int]:
        yield from ()
        return self.server_ms()


class Clock:
    """What the store takes for the time. It runs on like the real one, and can be moved and stopped.

    What follows it: when delayed jobs, retries and snoozed jobs are due, when jobs expire, leases, and how
    long results and dead letters are kept. What does not: ``datetime.now()`` and ``time.time()`` in your own
    code.
    """

    def __init__(self, store: PrivateStore) -> None:
        self._memory = store.memory

    def __repr__(self) -> str:
        return f"<Clock {self.now().isoformat()}>"

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self._memory.now_ms() / 1000, UTC)

    def advance(self, by: float | timedelta) -> datetime:
        """Move the clock forward, by seconds or a timedelta. Gives the time it is then."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else float(by)
        if not 0 <= seconds < 10**10:
            raise InvalidOption(f"clock.advance({by!r}): give seconds >= 0 or a timedelta; set() moves back")
        self.move_to_ms(self._memory.now_ms() + round(seconds * 1000))
        return self.now()

    def set(self, moment: datetime) -> None:
        """Move the clock to a moment, which must be aware of its time zone; forward or back."""
        self.move_to_ms(_ms(moment))

    def freeze(self, moment: datetime | None = None) -> None:
        """Stop the clock, at `moment` or where it is. `advance` and `set` still move it."""
        self._memory.set_clock(self._memory.now_ms() if moment is None else _ms(moment))

    def resume(self) -> None:
        """Let the clock run on from where it is."""
        self._memory.shift_clock(self._memory.now_ms() - int(time.time() * 1000))

    def move_to_ms(self, moment_ms: int) -> None:
        """Move the clock to milliseconds since the epoch; a clock that stands stays so."""
        if self._memory.clock_stands():
            self._memory.set_clock(moment_ms)
        else:
            self._memory.shift_clock(moment_ms - int(time.time() * 1000))


def _ms(moment: datetime) -> int:
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidOption(f"the clock cannot be set to {moment.isoformat()}: the moment needs a time zone")
    return round(moment.timestamp() * 1000)
