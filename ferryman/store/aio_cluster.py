"""Transitions on a cluster, over asyncio connections: the other face of `ferryman.store.cluster`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ferryman.errors import NotDurable, StoreUnavailable
from ferryman.store.address import Address, Node
from ferryman.store.aio_link import AsyncLink
from ferryman.store.cluster import MOST_HOPS, advance, check_shunned, key_of, learning, shunned_for
from ferryman.store.connection import Redirected
from ferryman.store.durability import Durability
from ferryman.store.link import Numbering
from ferryman.store.slots import slot_of
from ferryman.store.transitions import Transition

R = TypeVar("R")
Call = Callable[[AsyncLink], Awaitable[R]]


class AsyncClusterLane(Numbering):
    """A producer's link to a cluster, on one event loop."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        Numbering.__init__(self)
        self.address = address
        self.breaks = 0
        self._timeout_s = timeout_s
        self._links: dict[Node, AsyncLink] = {}
        self._shunned: dict[Node, float] = {}
        self._written: set[Node] = set()

    async def close(self) -> None:
        """As `ClusterLink.close`."""
        self.breaks += 1
        self.address.slots.doubt()
        self._written.clear()
        for link in self._links.values():
            await link.close()

    async def discard(self) -> None:
        """As `close`."""
        await self.close()

    async def run(self, transition: Transition[R], durability: Durability | None = None) -> R:
        """As `ClusterLink.run`."""
        return await self._following(
            slot_of(transition.keys[0]), lambda link: link.run(transition, durability)
        )

    async def begin(self, durability: Durability) -> None:
        """As `ClusterLink.begin`."""
        self._written.clear()
        if not self.address.slots.nodes:
            await self._learn()
        for node in self.address.slots.nodes:
            await self._trying(node, lambda link: link.begin(durability))

    async def confirm(self, durability: Durability) -> None:
        """As `ClusterLink.confirm`."""
        written, self._written = self._written, set()
        for node in written:
            try:
                await self._trying(node, lambda link: link.confirm(durability))
            except StoreUnavailable as error:
                raise NotDurable(str(error)) from error

    async def command(self, *words: Any) -> Any:
        """As `ClusterLink.command`."""
        key = key_of(words)
        if key is not None:
            return await self._following(slot_of(key), lambda link: link.command(*words))
        if not self.address.slots.nodes:
            await self._learn()
        refusal: StoreUnavailable | None = None
        for node in self.address.slots.nodes:
            try:
                return await self._trying(node, lambda link: link.command(*words))
            except StoreUnavailable as error:
                refusal = error
        raise refusal or StoreUnavailable(f"Redis at {self.address}: no node is known")

    async def _owner(self, slot: int) -> Node:
        node = self.address.slots.owner(slot)
        if node is None:
            await self._learn()
            node = self.address.slots.owner(slot)
        if node is None:
            raise StoreUnavailable(f"Redis at {self.address}: no node serves slot {slot} at the moment")
        return node

    async def _learn(self) -> None:
        asking = learning(self.address)
        node = next(asking, None)
        while node is not None:
            try:
                reply: Any = await self._trying(node, lambda link: link.command("CLUSTER", "SLOTS"))
            except StoreUnavailable as error:
                reply = error
            node = advance(asking, reply)

    async def _trying(self, node: Node, call: Call[R]) -> R:
        began = time.monotonic()
        check_shunned(node, self._shunned.get(node))
        link = self._links.get(node)
        if link is None:
            link = self._links[node] = AsyncLink(self.address.node(node), self._timeout_s)
        try:
            return await call(link)
        except Redirected:
            raise
        except StoreUnavailable:
            self._shunned[node] = shunned_for(time.monotonic() - began)
            await link.close()
            self.address.slots.doubt()
            raise

    async def _following(self, slot: int, call: Call[R]) -> R:
        node, asking = await self._owner(slot), False
        for _ in range(MOST_HOPS):
            try:
                if asking:
                    await self._trying(node, lambda link: link.command("ASKING"))
                self._written.add(node)
                return await self._trying(node, call)
            except Redirected as hop:
                node, asking = hop.node, hop.asking
                if not asking:
                    self.address.slots.correct(slot, node)
        raise StoreUnavailable(f"Redis at {self.address}: slot {slot} is on its way between nodes")
