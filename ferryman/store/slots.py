"""Which node of a cluster serves a key. No I/O happens here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

Node = tuple[str, int]

_REFRESH_S = 0.1


def slot_of(key: str | bytes) -> int:
    """The slot of a key: of what stands in its braces."""
    return int(key_slot(key.encode() if isinstance(key, str) else key))


class SlotMap:
    """What is known of a cluster's slots, shared by all connections of a process. Threads need no lock: what
    is known is replaced whole, and a wrong guess is put right by the node that is asked.
    """

    def __init__(self) -> None:
        self._owners: list[Node | None] = []
        self.nodes: tuple[Node, ...] = ()
        """The primaries that were seen last."""
        self._doubted = True
        self._learnt_at = float("-inf")

    def owner(self, slot: int) -> Node | None:
        """The primary that serves a slot; None if nobody knows or it is doubted."""
        if self._doubted and time.monotonic() - self._learnt_at > _REFRESH_S:
            return None
        return self._owners[slot] if self._owners else None

    def doubt(self) -> None:
        """A node did not answer, or sent us elsewhere: ask again soon, but not all the time."""
        self._doubted = True

    def learn(self, asked: Node, reply: Sequence[Any]) -> None:
        """Take in the reply of `asked` to ``CLUSTER SLOTS``."""
        owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, primary, *_ in reply:
            host = primary[0].decode() if primary[0] else ""
            # A node that does not know its own name means: the one that you have just asked.
            node = (host if host and host != "?" else asked[0], int(primary[1]))
            owners[first : last + 1] = [node] * (last - first + 1)
        self._owners = owners
        self.nodes = tuple(dict.fromkeys(node for node in owners if node is not None))
        self._learnt_at = time.monotonic()
        self._doubted = False

    def correct(self, slot: int, node: Node) -> None:
        """A node has said who serves a slot. There may be more that it did not say."""
        if self._owners:
            self._owners[slot] = node
        self.doubt()
