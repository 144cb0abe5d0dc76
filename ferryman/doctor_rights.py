"""May this user do all that Ferryman does? Tried on a throwaway queue, which is removed again.

The commands here and those of ``deploy/redis/users.acl`` are the same.
"""

from __future__ import annotations

import secrets
from typing import Any

from ferryman import envelope
from ferryman.doctor_probe import Finding, Probe
from ferryman.errors import StoreDenied, StoreError, StoreUnavailable
from ferryman.store import Durability, Transition, inspection, scripts, transitions
from ferryman.store.keys import QueueKeys

_TRIED = (
    ("SET", "seq", "1", "EX", "60"), ("GET", "seq"), ("GETRANGE", "seq", "0", "1"),
    ("INCRBY", "seq", "1"), ("EXISTS", "seq"),
    ("EXPIRE", "seq", "60"), ("PEXPIRE", "seq", "60000"), ("PTTL", "seq"), ("PERSIST", "seq"),
    ("HSET", "tries", "x", "1"), ("HGET", "tries", "x"), ("HMGET", "tries", "x"), ("HGETALL", "tries"),
    ("HEXISTS", "tries", "x"), ("HKEYS", "tries"), ("HSCAN", "tries", "0"), ("MGET", "seq"),
    ("HINCRBY", "tries", "x", "1"), ("HLEN", "tries"), ("HRANDFIELD", "tries"),
    ("HDEL", "tries", "y"), ("HSETNX", "tries", "x", "1"),
    ("LPUSH", "bell", "x"), ("RPUSH", "bell", "x"), ("LLEN", "bell"), ("LRANGE", "bell", "0", "-1"),
    ("LREM", "bell", "1", "y"), ("LTRIM", "bell", "0", "5"), ("BLPOP", "bell", "1"),
    ("SADD", "ghosts", "x"), ("SCARD", "ghosts"), ("SISMEMBER", "ghosts", "x"), ("SMEMBERS", "ghosts"),
    ("SMISMEMBER", "ghosts", "x"), ("SRANDMEMBER", "ghosts"), ("SREM", "ghosts", "y"),
    ("ZADD", "delayed", "1", "x"), ("ZCARD", "delayed"), ("ZCOUNT", "delayed", "0", "1"),
    ("ZMSCORE", "delayed", "x"), ("ZRANGE", "delayed", "0", "-1"), ("ZREVRANGE", "delayed", "0", "-1"),
    ("ZRANGEBYSCORE", "delayed", "0", "1"), ("ZSCORE", "delayed", "x"), ("ZREM", "delayed", "y"),
    ("ZREMRANGEBYSCORE", "delayed", "5", "6"),
    ("ZPOPMIN", "delayed"), ("LPOP", "bell"), ("RPOP", "bell"), ("PUBLISH", "done", "x"),
    ("DEL", "tries"), ("UNLINK", "ghosts"),
)  # fmt: skip
"""Each command on a key or channel of a queue that nobody else has."""

_OTHERS = (
    ("TIME",), ("SCRIPT LOAD", "return 1"), ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"),
    ("SUBSCRIBE",), ("CLIENT ID",), ("CLIENT UNBLOCK", "0"),
)  # fmt: skip
"""What needs no key. The digest is that of ``return 1``."""

_WORKING = {"BLPOP", "SMISMEMBER", "ZPOPMIN"}
"""Whoever may use none of these is not meant to work jobs off."""
_LEAVING = {"INCRBY", "HSET", "HSETNX", "HINCRBY", "LPUSH", "RPUSH", "SADD", "ZADD"}
"""What leaves something behind, and is not tried by a user who cannot remove it."""

_OF_KIND = {"cluster": (("CLUSTER SLOTS",), ("ASKING",)), "sentinel": (("ROLE",),)}
_OF_DURABILITY = {"replicated": (("WAIT", "0", "1"),), "fsync": (("WAITAOF", "0", "0", "1"),)}
"""What some settings need besides."""

COMMANDS = frozenset(words[0] for words in (*_TRIED, *_OTHERS)) | {"PING"}
"""Every command that Ferryman needs, those inside its scripts included."""
OF_WORKERS = COMMANDS - {"HKEYS", "MGET", "ZCOUNT", "ZREVRANGE"}
"""Those without which no worker works. The others are for people."""


def rights(probe: Probe) -> list[Finding]:
    """Is every command allowed that Ferryman needs? Tried on a throwaway queue, which is removed again."""
    keys = probe.app.store.keys(f"ferryman-doctor-{secrets.token_hex(4)}")
    try:
        denied = _denied_commands(probe, keys)
        if _WORKING.issubset(denied):
            return [_part_of_it(probe, keys, denied)]
        if OF_WORKERS.intersection(denied):
            return [_lacking(probe, denied)]
        what = f"all {len(COMMANDS)} commands that Ferryman needs are allowed"
        if denied:
            what = f"all that workers need is allowed; looking into queues takes {', '.join(denied)} as well"
        return [Finding("rights", "ok", what), _a_jobs_way(probe, keys), _script_flags(probe)]
    finally:
        _remove(probe, keys)


def _part_of_it(probe: Probe, keys: QueueKeys, denied: list[str]) -> Finding:
    """What a user is fit for who may not do everything: for a part in ``deploy/redis/users.acl``, or none."""
    lacks = f"this user may not use {', '.join(denied)}"
    # Of no job: what it leaves is the mark of a lane, which goes by itself.
    empty = transitions.enqueue(keys, "doctor", 1, [], chosen=True)
    look = inspection.locate(keys, "trial")
    if _allowed(probe, empty) and _allowed(probe, look) and "SUBSCRIBE" not in denied:
        return Finding(
            "rights",
            "warn",
            f"this user may enqueue and wait for results, as a producer does, and work nothing off: {lacks}",
            "Workers need another user: deploy/redis/users.acl has one.",
        )
    if _allowed(probe, look) and _allowed(probe, inspection.survey(keys)):
        return Finding(
            "rights",
            "warn",
            f"this user may look and change nothing: {lacks}",
            "Producers and workers need others: deploy/redis/users.acl has them.",
        )
    return _lacking(probe, denied)


def _lacking(probe: Probe, denied: list[str]) -> Finding:
    return Finding(
        "rights",
        "error",
        f"this user may not use {', '.join(denied)}",
        f"Allow them: ACL SETUSER <user> ~{probe.app.store.prefix}:* &{probe.app.store.prefix}:* "
        f"{' '.join('+' + name.lower().replace(' ', '|') for name in denied)}, "
        "or take a user from deploy/redis/users.acl.",
    )


def _allowed_words(probe: Probe, *words: str) -> bool:
    try:
        probe.command(*words)
    except StoreDenied:
        return False
    return True


def _allowed(probe: Probe, step: Transition[Any]) -> bool:
    try:
        probe.app.store.run(step)
    except StoreDenied:
        return False
    return True


def _denied_commands(probe: Probe, keys: QueueKeys) -> list[str]:
    app, denied = probe.app, []
    durability = Durability.of(app.settings.durability)
    besides = (
        *_OF_KIND.get(app.store.address.kind, ()),
        *(_OF_DURABILITY[durability.level] if durability else ()),
    )
    tidy = _allowed_words(probe, "DEL", keys.tries)
    for name, *words in (*_TRIED, *_OTHERS, *besides):
        if name in _LEAVING and not tidy:
            continue
        try:
            if name == "SUBSCRIBE":
                _subscribe(probe, keys.done)
            else:
                key = [getattr(keys, word, word) for word in words[:1]]
                probe.command(*name.split(), *key, *words[1:])
        except StoreDenied:
            denied.append(name)
        except StoreUnavailable:
            raise
        except StoreError:  # allowed, and it went wrong otherwise: not what is asked here
            continue
    return denied


def _subscribe(probe: Probe, channel: str) -> None:
    with probe.app.store.pool.lane() as lane:
        try:
            lane.command("SUBSCRIBE", channel)
        finally:
            lane.close()


def _a_jobs_way(probe: Probe, keys: QueueKeys) -> Finding:
    """Enqueue, fetch and ack one job through the real scripts."""
    store, holder = probe.app.store, "doctor"
    body = envelope.encode(
        envelope.Envelope(envelope.VERSION, "ferryman:doctor", envelope.NO_KWARGS, envelope.NO_KWARGS, 0)
    )
    try:
        store.run(transitions.register(keys, holder, 60_000))
        store.run(transitions.enqueue(keys, holder, 1, ["trial", body]))
        fetched = store.run(transitions.fetch(keys, holder, 1))
        acked = store.run(transitions.ack(keys, holder, fetched.ids))
    except StoreUnavailable:
        raise
    except StoreError as error:
        return Finding("trial job", "error", f"a trial job failed: {error}", "See the message.")
    if fetched.ids != [b"trial"] or acked.held or acked.refused:
        return Finding("trial job", "error", "a trial job was enqueued and did not come back",
                       "Something else writes to keys with this prefix.")  # fmt: skip
    return Finding("trial job", "ok", "a job was enqueued, fetched and acknowledged")


def _script_flags(probe: Probe) -> Finding:
    """Do workers go on when memory is full?"""
    try:
        probe.command("SCRIPT", "LOAD", scripts.load("ack").flagged)
    except StoreUnavailable:
        raise
    except StoreError:
        return Finding(
            "script flags",
            "warn",
            "this server does not read script flags (they came with Redis 7.0): when its memory is full, "
            "workers cannot finish jobs either",
            "Use Redis 7 or Valkey, or keep well below maxmemory.",
        )
    return Finding("script flags", "ok", "when memory is full, workers still finish jobs and free it")


def _remove(probe: Probe, keys: QueueKeys) -> None:
    names = [name for slot in QueueKeys.__slots__[3:] if (name := getattr(keys, slot)) != keys.done]
    try:
        probe.command("DEL", *names, keys.held("doctor"), keys.started("doctor"), keys.producer("doctor"))
    except StoreError:  # what is left is small and alone; the findings have named the reason
        return


CHECKS = (rights,)
