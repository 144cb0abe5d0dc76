"""What a fleet can be told, and what it answers, as both are kept in Redis.

An order waits in ``orders`` until its supervisor takes it away, for a minute at most; whoever removes it has
it, so it is carried out once. Each worker's answer is a key of its own with a TTL. To give an order is to
write: who may only read, or only publish messages, can give none.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ferryman.store.keys import FleetKeys
from ferryman.store.sync import Operation

Verb = Literal["quiet", "resume", "stop", "stacks"]
KEPT_MS = 60_000


class Order(msgspec.Struct, array_like=True, frozen=True):
    """One thing that one supervisor is to do."""

    id: str
    verb: Verb
    supervisor: str
    workers: list[str]
    """Names of its processes; none: all."""


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Order)


def give(keys: FleetKeys, orders: list[Order], now_ms: int) -> Operation[None]:
    """Write orders down and call those whom they concern."""
    yield ("ZREMRANGEBYSCORE", keys.orders, "-inf", now_ms - 1)
    for order in orders:
        yield ("ZADD", keys.orders, now_ms + KEPT_MS, _encode(order))
    yield ("PEXPIRE", keys.orders, KEPT_MS)
    for order in orders:
        yield ("PUBLISH", keys.called, order.supervisor)


def take(keys: FleetKeys, supervisor: str) -> Operation[list[Order]]:
    """The orders for a supervisor, which nobody can take a second time."""
    found = []
    for record in (yield ("ZRANGE", keys.orders, 0, -1)):
        try:
            order = _decoder.decode(record)
        except msgspec.MsgspecError:  # of another version: it runs out by itself
            continue
        if order.supervisor == supervisor and (yield ("ZREM", keys.orders, record)):
            found.append(order)
    return found


def answer(keys: FleetKeys, order_id: str, worker: str, text: str) -> tuple[Any, ...]:
    """The command that leaves a worker's answer to an order."""
    return ("SET", keys.answer(order_id, worker), text.encode(errors="replace"), "PX", KEPT_MS)
