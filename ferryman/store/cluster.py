"""Transitions on a cluster: a link for each node, and each step to the node that serves its keys.

All keys of a transition are in one slot, so a cluster needs no other scripts and no other rules. What is
special stands here: slots move, and nodes are lost one by one while the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from ferryman.errors import NotDurable, StoreError, StoreUnavailable
from ferryman.store.address import Address, Node
from ferryman.store.connection import Redirected
from ferryman.store.durability import Durability
from ferryman.store.link import Link, Numbering
from ferryman.store.slots import slot_of
from ferryman.store.transitions import Transition

R = TypeVar("R")

MOST_HOPS = 5
"""So often one step may be sent on from node to node before that counts as an outage."""
_SHUNNED_MOST_S = 5.0
_KEYLESS = frozenset((
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "INFO", "KEYS", "LATENCY", "PING", "PUBLISH",
    "ROLE", "SCRIPT", "SLOWLOG", "SUBSCRIBE", "TIME", "UNSUBSCRIBE", "WAIT", "WAITAOF",
))  # fmt: skip
_KEY_THIRD = frozenset(("MEMORY", "OBJECT"))


def key_of(words: Sequence[Any]) -> Any:
    """The key that decides which node a command belongs to; None for a command that any node can answer."""
    name = str(words[0]).upper()
    if name in _KEYLESS or len(words) < 2:
        return None
    return words[2] if name in _KEY_THIRD else words[1]


def shunned_for(took_s: float) -> float:
    """Until when (monotonic) to leave a node alone that could not be reached: finding out took so long."""
    return time.monotonic() + min(2 * took_s, _SHUNNED_MOST_S)


def learning(address: Address) -> Generator[Node, Any, None]:
    """Learn who serves which slot: yields nodes to ask for ``CLUSTER SLOTS``, is sent what they say, or why
    they do not. Raises `StoreUnavailable` when none is left to ask.
    """
    slots, refusal = address.slots, None
    for node in dict.fromkeys((*slots.nodes, *address.nodes)):
        reply = yield node
        if isinstance(reply, StoreUnavailable):
            refusal = refusal or reply
        elif reply:
            slots.learn(node, reply)
            return
    raise refusal or StoreUnavailable(f"Redis at {address}: no node knows who serves which slot")


def advance(asking: Generator[Node, Any, None], reply: Any) -> Node | None:
    """The next node to ask; None if all is known."""
    try:
        return asking.send(reply)
    except StopIteration:
        return None


def check_shunned(node: Node, until: float | None) -> None:
    """Raises `StoreUnavailable` for a node that is still to be left alone."""
    if until is not None and time.monotonic() < until:
        raise StoreUnavailable(f"Redis at {node[0]}:{node[1]} did not answer a moment ago")


class ClusterLink(Link):
    """A `Link` to a cluster. Not for two threads at once."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        # Not Link.__init__: the connections are the nodes' links'.
        self.address = address
        self.breaks = 0
        self._timeout_s = timeout_s
        self._links: dict[Node, Link] = {}
        self._shunned: dict[Node, float] = {}
        self._heard: Link | None = None
        self._written: set[Node] = set()

    def close(self) -> None:
        """Drop all connections; the next call opens those it needs. Never raises."""
        self.breaks += 1
        self.address.slots.doubt()
        self._heard = None
        self._written.clear()
        for link in self._links.values():
            link.close()

    def discard(self) -> None:
        """As `close`."""
        self.close()

    # -- who serves what -------------------------------------------------------------------------------------

    def _link(self, node: Node) -> Link:
        link = self._links.get(node)
        if link is None:
            link = self._links[node] = Link(self.address.node(node), self._timeout_s)
        return link

    def _owner(self, slot: int) -> Node:
        node = self.address.slots.owner(slot)
        if node is None:
            self._learn()
            node = self.address.slots.owner(slot)
        if node is None:
            raise StoreUnavailable(f"Redis at {self.address}: no node serves slot {slot} at the moment")
        return node

    def _learn(self) -> None:
        asking = learning(self.address)
        node = next(asking, None)
        while node is not None:
            try:
                reply = self._trying(node, lambda link: link.command("CLUSTER", "SLOTS"))
            except StoreUnavailable as error:
                reply = error
            node = advance(asking, reply)

    def _trying(self, node: Node, call: Callable[[Link], R]) -> R:
        """A call to one node. A node that cannot be reached is left alone for as long as the try took, and
        twice that: to wait for it again and again would keep the other nodes' jobs waiting.
        """
        began = time.monotonic()
        check_shunned(node, self._shunned.get(node))
        try:
            found = call(self._link(node))
        except Redirected:
            raise
        except StoreUnavailable:
            self._shunned[node] = shunned_for(time.monotonic() - began)
            self._link(node).close()
            self.address.slots.doubt()
            raise
        return found

    def _following(self, slot: int, call: Callable[[Link], R]) -> R:
        """A call to the node that serves a slot, sent on for as long as nodes point to others."""
        node, asking = self._owner(slot), False
        for _ in range(MOST_HOPS):
            try:
                if asking:
                    self._trying(node, lambda link: link.command("ASKING"))
                self._written.add(node)
                return self._trying(node, call)
            except Redirected as hop:
                node, asking = hop.node, hop.asking
                if not asking:
                    self.address.slots.correct(slot, node)
        raise StoreUnavailable(f"Redis at {self.address}: slot {slot} is on its way between nodes")

    # -- what a link can do ----------------------------------------------------------------------------------

    def run(self, transition: Transition[R], durability: Durability | None = None) -> R:
        """Carry out one transition where its keys are; see `Link.run`."""
        return self._following(slot_of(transition.keys[0]), lambda link: link.run(transition, durability))

    def begin(self, durability: Durability) -> None:
        """Before what `confirm` is to be asked for: raises `ConfigurationError` if a node cannot give it."""
        self._written.clear()
        if not self.address.slots.nodes:
            self._learn()
        for node in self.address.slots.nodes:
            self._trying(node, lambda link: link.begin(durability))

    def confirm(self, durability: Durability) -> None:
        """Wait until all that was written since `begin` is as safe as asked, node by node."""
        written, self._written = self._written, set()
        for node in written:
            try:
                self._trying(node, lambda link: link.confirm(durability))
            except StoreUnavailable as error:
                raise NotDurable(str(error)) from error

    def command(self, *words: Any) -> Any:
        """One plain command, where its key is; any node answers one without."""
        key = key_of(words)
        if key is None:
            return self._anywhere(lambda link: link.command(*words))
        return self._following(slot_of(key), lambda link: link.command(*words))

    def _anywhere(self, call: Callable[[Link], R]) -> R:
        if not self.address.slots.nodes:
            self._learn()
        refusal: StoreUnavailable | None = None
        for node in self.address.slots.nodes:
            try:
                return self._trying(node, call)
            except StoreUnavailable as error:
                refusal = error
        raise refusal or StoreUnavailable(f"Redis at {self.address}: no node is known")

    def pipeline(self, transitions: Sequence[Transition[Any]]) -> list[Any]:
        """Several transitions, each where its keys are, all nodes at the same time.

        The reply for a node that cannot be reached is a `StoreUnavailable`, and the others' count; it is
        raised only if there is no other reply.
        """
        replies: list[Any] = [None] * len(transitions)
        groups: dict[Node, list[int]] = {}
        for index, transition in enumerate(transitions):
            try:
                groups.setdefault(self._owner(slot_of(transition.keys[0])), []).append(index)
            except StoreUnavailable as error:
                replies[index] = error
        posted = []
        for node, indexes in groups.items():
            steps = [transitions[index] for index in indexes]
            if self._part(node, indexes, replies, lambda link, steps=steps: link.post(steps)):  # type: ignore[misc]
                posted.append((node, indexes, steps))
        for node, indexes, steps in posted:
            self._part(node, indexes, replies, lambda link, steps=steps: link.collect(steps))  # type: ignore[misc]
        for index, reply in enumerate(replies):
            if isinstance(reply, Redirected):
                try:
                    replies[index] = self.run(transitions[index])
                except StoreError as error:
                    replies[index] = error
        refusals = [reply for reply in replies if isinstance(reply, StoreUnavailable)]
        if refusals and len(refusals) == len(replies):
            raise refusals[0]
        return replies

    def _part(
        self, node: Node, indexes: Sequence[int], replies: list[Any], call: Callable[[Link], Any]
    ) -> bool:
        """One node's part of a pipeline. Whether that node can be spoken to."""
        try:
            found = self._trying(node, call)
        except StoreError as error:
            for index in indexes:
                replies[index] = error
            return False
        except BaseException:
            self.close()  # broken off: replies may be under way on any of them
            raise
        for index, reply in zip(indexes, found or (), strict=False):
            replies[index] = reply
        return True

    # -- one connection at a time, to listen on --------------------------------------------------------------

    def send(self, *words: Any) -> None:
        """Send one command; its reply, and what else comes from that node, is left for `receive`."""
        key = key_of(words)
        if key is not None:
            node = self._owner(slot_of(key))
            self._heard = self._link(node)
            self._trying(node, lambda link: link.send(*words))
            return
        if self._heard is None:
            self._anywhere(self._hear)
        assert self._heard is not None  # noqa: S101 (`_anywhere` raises otherwise)
        self._heard.send(*words)

    def _hear(self, link: Link) -> None:
        link.command("PING")
        self._heard = link

    def _listening(self) -> Link:
        if self._heard is None:
            raise StoreUnavailable(f"Redis at {self.address}: the connection is closed")
        return self._heard

    def receive(self) -> Any:
        """The next reply from the node that was spoken to last."""
        try:
            return self._listening().receive()
        except Redirected:
            self.address.slots.doubt()
            raise

    def has_more(self) -> bool:
        """Whether that node has more to say."""
        return self._listening().has_more()

    def fileno(self) -> int:
        """The socket of the node that was spoken to last."""
        if self._heard is None:
            self._anywhere(self._hear)
        return self._listening().fileno()


class ClusterLane(ClusterLink, Numbering):
    """A producer's link to a cluster."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        ClusterLink.__init__(self, address, timeout_s)
        Numbering.__init__(self)
