"""Under which names a queue's jobs are kept: its own, or those of its shards.

An app declares shards (``app.queue("clicks", shards=8)``); Redis knows which there have ever been. Whoever
looks at a queue, or works on it, takes both: the shards of a declaration that has changed are worked off too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ferryman import ids
from ferryman.store.sync import Operation

if TYPE_CHECKING:
    from ferryman.app import Ferryman

_FRESH_S = 5.0


class ShardList:
    """The shards of one app's queues."""

    def __init__(self, app: Ferryman) -> None:
        self._app = app
        self._known: dict[str, list[str]] = {}
        self._read_at = float("-inf")

    def of(self, queue: str) -> Operation[Sequence[str]]:
        """The names under which a queue's jobs are kept, first those that this app declares."""
        declared = self._app.shards_of(queue)
        if time.monotonic() - self._read_at > _FRESH_S:
            names = yield ("SMEMBERS", self._app.store.fleet_keys.queues)
            known: dict[str, list[str]] = {}
            for name in sorted((item.decode() for item in names), key=_by_number):
                known.setdefault(ids.base(name), []).append(name)
            self._known, self._read_at = known, time.monotonic()
        return list(dict.fromkeys((*declared, *self._known.get(queue, ()))))


def _by_number(name: str) -> tuple[str, int]:
    base, _, number = name.partition("#")
    return base, int(number or -1)
