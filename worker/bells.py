"""Waiting for work: one connection that does nothing but block on the bells of the queues."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ferryman.errors import StoreDenied
from ferryman.store import Address, Link
from ferryman.worker.feeds import Feed

BLOCK_S = 5
_OVERDUE_NS = (BLOCK_S + 2) * 1_000_000_000


class Bells:
    """Blocks on bells without blocking the thread: `arm` sends, `fileno` says when there is something to
    hear.
    """

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._link = Link(address, timeout_s)
        self._client_id = 0
        self._armed: dict[bytes, Feed] = {}
        self._since_ns = 0

    @property
    def armed(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._armed)

    def covers(self, feeds: Sequence[Feed]) -> bool:
        """Whether all of these are listened to."""
        listened = self._armed.values()
        return all(feed in listened for feed in feeds)

    def arm(self, feeds: Sequence[Feed]) -> None:
        """Listen to the bells of these queues, the first with precedence. Raises a `StoreError`."""
        if not self._client_id:
            try:
                self._client_id = int(self._link.command("CLIENT", "ID"))
            except StoreDenied:  # an ACL may forbid it: then `interrupt` drops the connection instead
                self._client_id = -1
        self._link.send("BLPOP", *(feed.keys.bell for feed in feeds), BLOCK_S)
        self._armed = {feed.keys.bell.encode(): feed for feed in feeds}
        self._since_ns = time.monotonic_ns()

    def fileno(self) -> int:
        """The socket, to wait on."""
        return self._link.fileno()

    def overdue(self) -> bool:
        """Whether the server should long have answered: then the connection is dead, however quiet it is."""
        return bool(self._armed) and time.monotonic_ns() - self._since_ns > _OVERDUE_NS

    def hear(self) -> Feed | None:
        """The queue whose bell rang; None if none did in time. Raises a `StoreError`."""
        reply = self._link.receive()
        armed, self._armed = self._armed, {}
        return None if reply is None else armed.get(reply[0])

    def interrupt(self, by: Link) -> None:
        """Have the server end the wait now, by a word over another connection: other bells are to be listened
        to.
        """
        if self._client_id > 0:
            by.command("CLIENT", "UNBLOCK", self._client_id)
            return
        for feed in self._armed.values():
            feed.may_have_work = True
        self.close()

    def close(self) -> None:
        """Drop the connection. A token that was on its way is lost, so look into the queues afterwards."""
        self._armed = {}
        self._client_id = 0
        self._link.close()
