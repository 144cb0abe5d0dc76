"""Where the jobs of a queue go: to its one set of keys, or to those of its shards in turn."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Self

from ferryman import ids
from ferryman.store.keys import QueueKeys

if TYPE_CHECKING:
    from ferryman.app import Ferryman


class Route:
    """The way to one queue."""

    __slots__ = ("_turn", "only", "shards", "shortest")

    def __init__(self, shards: list[QueueKeys], *, shortest: bool) -> None:
        self.shards = shards
        self.only = shards[0] if len(shards) == 1 else None
        """The queue's keys, if it has no shards."""
        self.shortest = shortest
        """Whether its jobs are worked off by their run times."""
        self._turn = itertools.count()

    @classmethod
    def to(cls, app: Ferryman, queue: str) -> Self:
        """The way to `queue`, as this app declares it."""
        names = app.shards_of(queue)
        return cls([app.store.keys(name) for name in names], shortest=app.queue_order(queue) == "shortest")

    def pick(self, local: str | None) -> QueueKeys:
        """The shard for the next job, or batch; that of an id of the user's own is always the same."""
        count = len(self.shards)
        return self.shards[next(self._turn) % count if local is None else ids.shard_of(local, count)]
