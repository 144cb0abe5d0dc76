"""Which of the schedulers leads: a lease with a token, kept in Redis and judged by its clock."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable

from ferryman import chance
from ferryman.store import Link, scheduling
from ferryman.store.keys import FleetKeys

logger = logging.getLogger("ferryman.scheduler")


def scheduler_name() -> str:
    """A name that no scheduler had before."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Lease:
    """One scheduler's claim to lead. Renewed every third of its time; what the claim is worth in between is
    counted by a clock that goes on while this process is stopped.
    """

    def __init__(
        self, keys: FleetKeys, name: str, lease_ms: int, mono_ms: Callable[[], float] | None = None
    ) -> None:
        self.name = name
        self.token = 0
        """Under which this scheduler leads; 0: it does not."""
        self._keys, self._lease_ms = keys, lease_ms
        self._mono_ms = mono_ms or _boot_ms
        self._until = self._next_try = 0.0

    def wait_ms(self) -> float:
        """How long until the lease is to be asked for again."""
        return max(self._next_try - self._mono_ms(), 0.0)

    def holds(self) -> bool:
        """Whether this scheduler may believe that it leads. The scripts know better."""
        return bool(self.token) and self._mono_ms() < self._until

    def ask(self, link: Link) -> int:
        """Ask for the lease, or for more of it; the server's time. Raises `StoreError`."""
        asked = self._mono_ms()
        found = link.run(scheduling.lead(self._keys, self.name, self._lease_ms))
        if found.token and found.token != self.token:
            logger.info("scheduler %s leads (token %d)", self.name, found.token)
        elif self.token and not found.token:
            logger.warning("scheduler %s leads no more: another has taken over", self.name)
        self.token = found.token
        if found.token:
            self._until = asked + self._lease_ms
            self._next_try = asked + self._lease_ms / 3
        else:  # some look first, and not all at once
            self._next_try = asked + found.left_ms + chance.between(1, 50)
        return found.now_ms

    def ask_now(self) -> None:
        """Ask again at the next turn, not when the other's lease is over."""
        self._next_try = 0.0

    def lost(self) -> None:
        """A script has said that a later leader was there."""
        if self.token:
            logger.warning("scheduler %s was deposed: its lease had lapsed", self.name)
        self.token = 0
        self._next_try = self._mono_ms() + chance.between(1, 50)

    def give_up(self, link: Link) -> None:
        """Leave, and let the next one lead at once. Raises `StoreError`."""
        if self.token:
            link.run(scheduling.resign(self._keys, self.name))
            self.token = 0


def _boot_ms() -> float:
    """Monotonic time that also counts while the machine sleeps, where there is such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return (time.clock_gettime(clock) if clock is not None else time.monotonic()) * 1000
