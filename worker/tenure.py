"""Under which name a process holds jobs: beginning, losing and ending a lease, and finding out what is really
held.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from collections.abc import Sequence
from typing import NamedTuple

from ferryman.settlement import Batch
from ferryman.store import Link, layout, transitions
from ferryman.store.keys import FleetKeys
from ferryman.store.transitions import Holding
from ferryman.worker.board import Board
from ferryman.worker.feeds import Feed
from ferryman.worker.lanes import Lanes

logger = logging.getLogger("ferryman.worker")


def new_holder(name: str = "") -> str:
    """A holder's name: of the machine or as given, the process, and chance. It is used once."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", name or socket.gethostname())[:64]
    return f"{stem}-{os.getpid()}-{secrets.token_hex(3)}"


class Difference(NamedTuple):
    """Between what Redis says is held and what is in hand."""

    found: Holding
    """Held, and not in hand: the reply to a fetch was lost."""
    gone: list[bytes]
    """In hand, and not held any more."""


class Tenure:
    """The lease of one process on its queues."""

    def __init__(
        self, feeds: Sequence[Feed], board: Board, fleet_keys: FleetKeys, lease_ms: int, name: str
    ) -> None:
        self.holder = ""
        self._feeds = feeds
        self._board = board
        self._fleet_keys = fleet_keys
        self._lease_ms = lease_ms
        self._name = name
        self._next = ""

    def begin(self, link: Link) -> None:
        """Register under a new name."""
        # If an answer is lost, the next try is under the same name: else the first would stay behind as a
        # worker that nobody is, until its lease has lapsed.
        holder = self._next = self._next or new_holder(self._name)
        layout.check(link, self._fleet_keys)
        link.run(transitions.insist(self._fleet_keys.queues, "SADD", *(feed.name for feed in self._feeds)))
        for feed in self._feeds:
            link.run(transitions.register(feed.keys, holder, self._lease_ms))
        self.holder, self._next = holder, ""
        self._board.set_holder(holder)
        logger.debug("holds jobs as %s", holder)

    def forfeit(self) -> None:
        """The lease is lost, and with it all that was in hand: it belongs to others now."""
        lost = sum(len(feed.hand) for feed in self._feeds)
        logger.error(
            "worker %s has lost its lease: it was silent for too long. %d jobs that it had in hand "
            "run elsewhere; it goes on under a new name",
            self.holder, lost,
        )  # fmt: skip
        self.holder = ""
        for feed in self._feeds:
            feed.hand.clear()
            feed.batch = Batch()
            feed.unsent = []
            feed.lanes = Lanes()
            feed.may_have_work = True

    def compare(self, link: Link, feed: Feed) -> Difference:
        """Ask Redis what this process holds of a queue."""
        holding = link.run(transitions.reconcile(feed.keys, self.holder))
        held = set(holding.ids)
        new = [index for index, local in enumerate(holding.ids) if local not in feed.hand]
        found = _chosen(holding, new)
        bodiless = [local for local, body in zip(found.ids, found.envelopes, strict=True) if body is None]
        if bodiless:
            logger.error("queue %s: envelopes were deleted from outside: %s", feed.name, _names(bodiless))
            link.run(transitions.drop(feed.keys, self.holder, bodiless))
            keep = [index for index, body in enumerate(found.envelopes) if body is not None]
            found = _chosen(found, keep)
        return Difference(found, [local for local in feed.hand if local not in held])

    def end(self, link: Link) -> None:
        """Give back what is held still, and end the lease in good order."""
        for feed in self._feeds:
            while link.run(transitions.retire(feed.keys, self.holder)):
                held = link.run(transitions.reconcile(feed.keys, self.holder)).ids
                for ids in transitions.batches(held):
                    link.run(transitions.release(feed.keys, self.holder, ids, lifo=feed.lifo))
        self.holder = ""


def _chosen(holding: Holding, indexes: Sequence[int]) -> Holding:
    ids, envelopes, tries, crashes = holding
    return Holding(
        [ids[index] for index in indexes],
        [envelopes[index] for index in indexes],
        [tries[index] for index in indexes],
        [crashes[index] for index in indexes],
    )


def _names(ids: Sequence[bytes]) -> str:
    shown = ", ".join(local.decode(errors="replace") for local in ids[:20])
    return shown if len(ids) <= 20 else f"{shown} and {len(ids) - 20} more"
