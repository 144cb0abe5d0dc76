"""Waiting for work: connections that do nothing but block on the bells of the queues."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ferryman.errors import StoreDenied, StoreUnavailable
from ferryman.store import Link, Redirected, Store
from ferryman.worker.feeds import Feed

BLOCK_S = 5
_OVERDUE_NS = (BLOCK_S + 2) * 1_000_000_000


class Ear:
    """One connection that blocks on some bells."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._client_id = 0
        self._since_ns = 0
        self.armed: dict[bytes, Feed] = {}
        """The bells that are listened to; none: no answer is awaited."""

    def arm(self, feeds: Sequence[Feed]) -> None:
        """Listen to the bells of these queues, the first with precedence. Raises a `StoreError`."""
        self._link.send("BLPOP", *(feed.keys.bell for feed in feeds), BLOCK_S)
        self.armed = {feed.keys.bell.encode(): feed for feed in feeds}
        self._since_ns = time.monotonic_ns()

    def know_itself(self) -> None:
        """Ask for the connection's number, by which another can interrupt it."""
        if not self._client_id:
            try:
                self._client_id = int(self._link.command("CLIENT", "ID"))
            except StoreDenied:  # an ACL may forbid it: then the connection is dropped instead
                self._client_id = -1

    def interrupt(self, by: Link) -> bool:
        """Have the server end the wait now. False if it cannot be asked to."""
        if self._client_id > 0:
            by.command("CLIENT", "UNBLOCK", self._client_id)
            return True
        return False

    def overdue(self) -> bool:
        """Whether the server should long have answered: then the connection is dead, however quiet it is."""
        return bool(self.armed) and time.monotonic_ns() - self._since_ns > _OVERDUE_NS

    def fileno(self) -> int:
        """The socket, to wait on."""
        return self._link.fileno()

    def hear(self) -> Feed | None:
        """The queue whose bell rang; None if none did in time. Raises a `StoreError`."""
        try:
            reply = self._link.receive()
        except Redirected:  # the queue has moved to another server of the cluster
            self.close()
            return None
        armed, self.armed = self.armed, {}
        return None if reply is None else armed.get(reply[0])

    def close(self) -> None:
        """Drop the connection. A token that was on its way is lost, so what it listened to is looked into."""
        for feed in self.armed.values():
            feed.may_have_work = True
        self.armed = {}
        self._client_id = 0
        self._link.close()


class Bells:
    """Blocks on bells without blocking the thread: `listen` sends, `sockets` says where to wait for a reply.

    One connection listens to all queues. On a cluster, where a command has to stay in one slot, there is one
    for each queue.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ears: dict[str, Ear] = {}

    def listen(self, feeds: Sequence[Feed], by: Link) -> bool:
        """See to it that all of these are listened to; `by`: another connection, for a word to the server.

        False if that needs another look into the queues first.
        """
        if self._store.is_cluster:
            for feed in feeds:
                ear = self._ear(feed.name)
                if not ear.armed:
                    try:
                        ear.arm([feed])
                    except StoreUnavailable:
                        ear.close()
                        feed.may_have_work = True  # the look into it says what is wrong, and how long to wait
                        return False
            return True
        ear = self._ear("")
        if not ear.armed:
            ear.know_itself()
            ear.arm(feeds)
            return True
        listened = ear.armed.values()
        if all(feed in listened for feed in feeds) or ear.interrupt(by):
            return True
        ear.close()
        return False

    def _ear(self, name: str) -> Ear:
        ear = self._ears.get(name)
        if ear is None:
            ear = self._ears[name] = Ear(self._store.link())
        return ear

    def sockets(self) -> dict[int, Ear]:
        """The sockets to wait on, and whose they are."""
        return {ear.fileno(): ear for ear in self._ears.values() if ear.armed}

    def overdue(self) -> list[Ear]:
        """The connections that are dead."""
        return [ear for ear in self._ears.values() if ear.overdue()]

    def close(self) -> None:
        """Drop the connections."""
        for ear in self._ears.values():
            ear.close()
