"""A queue's whole state in Redis as plain Python, to compare all of it before and after a step."""

from __future__ import annotations

from typing import Any

import redis

from ferryman.store.keys import QueueKeys

Snapshot = dict[str, Any]


def _read(client: redis.Redis, key: bytes) -> Any:
    raw: Any = client
    kind = raw.type(key)
    if kind == b"string":
        return raw.get(key)
    if kind == b"list":
        return raw.lrange(key, 0, -1)
    if kind == b"set":
        return set(raw.smembers(key))
    if kind == b"zset":
        return dict(raw.zrange(key, 0, -1, withscores=True))
    if kind == b"hash":
        return raw.hgetall(key)
    return kind


def snapshot(client: redis.Redis, keys: QueueKeys) -> Snapshot:
    """Every key of the queue by its name without the stem; empty for a queue that left nothing behind."""
    names = sorted(client.scan_iter(match=f"{keys.stem}*", count=1000))
    return {name.decode().removeprefix(keys.stem): _read(client, name) for name in names}


def limited_in_time(client: redis.Redis, keys: QueueKeys) -> set[str]:
    """The names of the queue's keys that have a TTL."""
    names = list(client.scan_iter(match=f"{keys.stem}*", count=1000))
    ttls: list[Any] = [client.pttl(name) for name in names]
    return {name.decode().removeprefix(keys.stem) for name, ttl in zip(names, ttls, strict=True) if ttl >= 0}


def places(state: Snapshot) -> dict[bytes, list[str]]:
    """For each id, the places that it is in; `ready` as often as it stands there."""
    found: dict[bytes, list[str]] = {}
    for name, value in state.items():
        if name in ("ready", "ranked", "delayed", "retries", "dead") or name.startswith("held:"):
            for local in value:
                found.setdefault(local, []).append(name)
    return found


def assert_one_place(state: Snapshot) -> None:
    """Each id with a body is in one place; an id without one is a cancelled job's entry in `ready`."""
    bodies = set(state.get("jobs", {}))
    ghosts = state.get("ghosts", set())
    where = places(state)
    for local in bodies:
        assert len(where.get(local, ())) == 1, f"{local!r} is in {where.get(local, 'no place')}"
    for local, found in where.items():
        if local not in bodies:
            assert local in ghosts, f"{local!r} is in {found} without a body"
            assert found == ["ready"]
    for local in ghosts:
        assert local not in bodies, f"ghost {local!r} has a body"
        assert where.get(local) == ["ready"], f"ghost {local!r} haunts nothing: {where.get(local)}"
