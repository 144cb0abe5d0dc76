"""May this user do all that Ferryman does, and how do the app's own queues stand?"""

from __future__ import annotations

import secrets
from typing import Any

from ferryman import envelope
from ferryman.doctor_probe import Finding, Probe, bytes_text, counted
from ferryman.errors import StoreDenied, StoreError, StoreUnavailable
from ferryman.queue import QueueInfo
from ferryman.store import Durability, layout, scripts, transitions
from ferryman.store.keys import QueueKeys

_TRIED = (
    ("SET", "seq", "1", "EX", "60"), ("GET", "seq"), ("GETRANGE", "seq", "0", "1"),
    ("INCRBY", "seq", "1"), ("EXISTS", "seq"),
    ("EXPIRE", "seq", "60"), ("PEXPIRE", "seq", "60000"), ("PERSIST", "seq"),
    ("HSET", "tries", "x", "1"), ("HGET", "tries", "x"), ("HMGET", "tries", "x"), ("HGETALL", "tries"),
    ("HEXISTS", "tries", "x"), ("HINCRBY", "tries", "x", "1"), ("HLEN", "tries"), ("HRANDFIELD", "tries"),
    ("HDEL", "tries", "y"),
    ("LPUSH", "bell", "x"), ("RPUSH", "bell", "x"), ("LLEN", "bell"), ("LRANGE", "bell", "0", "-1"),
    ("LREM", "bell", "1", "y"), ("LTRIM", "bell", "0", "5"), ("BLPOP", "bell", "1"),
    ("SADD", "ghosts", "x"), ("SCARD", "ghosts"), ("SISMEMBER", "ghosts", "x"), ("SMEMBERS", "ghosts"),
    ("SMISMEMBER", "ghosts", "x"), ("SRANDMEMBER", "ghosts"), ("SREM", "ghosts", "y"),
    ("ZADD", "delayed", "1", "x"), ("ZCARD", "delayed"), ("ZCOUNT", "delayed", "0", "1"),
    ("ZMSCORE", "delayed", "x"), ("ZRANGE", "delayed", "0", "-1"), ("ZREVRANGE", "delayed", "0", "-1"),
    ("ZRANGEBYSCORE", "delayed", "0", "1"), ("ZSCORE", "delayed", "x"), ("ZREM", "delayed", "y"),
    ("ZREMRANGEBYSCORE", "delayed", "5", "6"),
    ("ZPOPMIN", "delayed"), ("PUBLISH", "done", "x"), ("DEL", "tries"), ("UNLINK", "ghosts"),
)  # fmt: skip
"""Each command on a key or channel of a queue that nobody else has."""

_OTHERS = (
    ("TIME",), ("SCRIPT LOAD", "return 1"), ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"),
    ("SUBSCRIBE",), ("CLIENT ID",), ("CLIENT UNBLOCK", "0"),
)  # fmt: skip
"""What needs no key. The digest is that of ``return 1``."""

_OF_KIND = {"cluster": (("CLUSTER SLOTS",), ("ASKING",)), "sentinel": (("ROLE",),)}
_OF_DURABILITY = {"replicated": (("WAIT", "0", "1"),), "fsync": (("WAITAOF", "0", "0", "1"),)}
"""What some settings need besides."""

COMMANDS = frozenset(words[0].split()[0] for words in (*_TRIED, *_OTHERS)) | {"PING", "UNSUBSCRIBE"}
"""Every command that Ferryman needs, those inside its scripts included."""

_OLD_S = 300
_MANY = 1_000_000
_LARGE = 512 * 1024**2


def rights(probe: Probe) -> list[Finding]:
    """Is every command allowed that Ferryman needs? Tried on a throwaway queue, which is removed again."""
    keys = probe.app.store.keys(f"ferryman-doctor-{secrets.token_hex(4)}")
    try:
        denied = _denied_commands(probe, keys)
        if denied:
            return [
                Finding(
                    "rights",
                    "error",
                    f"this user may not use {', '.join(denied)}",
                    f"Allow them: ACL SETUSER <user> ~{probe.app.store.prefix}:* &{probe.app.store.prefix}:* "
                    f"{' '.join('+' + name.lower().replace(' ', '|') for name in denied)}",
                )
            ]
        return [
            Finding("rights", "ok", f"all {len(COMMANDS)} commands that Ferryman needs are allowed"),
            _a_jobs_way(probe, keys),
            _script_flags(probe),
        ]
    finally:
        _remove(probe, keys)


def _denied_commands(probe: Probe, keys: QueueKeys) -> list[str]:
    app, denied = probe.app, []
    durability = Durability.of(app.settings.durability)
    besides = (
        *_OF_KIND.get(app.store.address.kind, ()),
        *(_OF_DURABILITY[durability.level] if durability else ()),
    )
    for name, *words in (*_TRIED, *_OTHERS, *besides):
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
            lane.command("UNSUBSCRIBE", channel)
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


# -- the queues ----------------------------------------------------------------------------------------------


def queues(probe: Probe) -> list[Finding]:
    """Does anything wait in vain?"""
    found: list[Finding] = []
    names = list(probe.app.queues())
    if not names:
        return [Finding("queues", "ok", "no queue has been used yet")]
    for queue in names:
        info = queue.info()
        found += _standing(info)
        found += _orphans(probe, info)
        found += _left_to_newer(probe, info)
        found += _size(probe, info)
    return found or [Finding("queues", "ok", f"{len(names)} in use, none in trouble")]


def _standing(info: QueueInfo) -> list[Finding]:
    name, found = f"queue {info.name}", []
    if info.paused is not None:
        found.append(Finding(name, "warn", f"paused ({info.paused}), {counted(info.queued, 'job')} waiting",
                             f"ferryman queues resume {info.name}"))  # fmt: skip
    elif info.workers == 0 and info.queued + info.scheduled:
        what = f"{counted(info.queued, 'job')} waiting, {info.scheduled} scheduled, and no worker for it"
        found.append(Finding(name, "warn", what, f"ferryman worker MODULE -q {info.name}"))
    elif info.oldest_age_s > _OLD_S:
        found.append(Finding(name, "warn", f"its oldest job has waited for {info.oldest_age_s / 60:.0f} min",
                             "Add workers, or see what they are busy with: ferryman workers"))  # fmt: skip
    if info.dead:
        found.append(
            Finding(name, "warn", counted(info.dead, "dead letter"), f"ferryman failures -q {info.name}")
        )
    return found


def _orphans(probe: Probe, info: QueueInfo) -> list[Finding]:
    """Jobs whose holder has no lease: workers find them within seconds, if there are any workers."""
    keys = probe.app.store.keys(info.name)
    now_ms = probe.app.store.server_ms()
    alive: Any = set(probe.command("ZRANGEBYSCORE", keys.workers, now_ms, "+inf"))
    lost: Any = [holder for holder in probe.command("SMEMBERS", keys.holders) if holder not in alive]
    held = sum(probe.command("SCARD", keys.held(holder.decode())) for holder in lost)
    if not held:
        return []
    return [
        Finding(
            f"queue {info.name}",
            "warn",
            f"{counted(held, 'job')} held by {counted(len(lost), 'lost worker')}",
            "Live workers take them back within seconds."
            if info.workers
            else "Start a worker: it takes them back.",
        )
    ]


def _left_to_newer(probe: Probe, info: QueueInfo) -> list[Finding]:
    """Jobs that older workers cannot read. One that has run since may still be counted for some seconds."""
    keys = probe.app.store.keys(info.name)
    newest: Any = probe.command("ZREVRANGE", keys.newer, 0, 0, "WITHSCORES")
    if not newest:
        return []
    number, version = probe.command("ZCARD", keys.newer), int(float(newest[1]))
    return [
        Finding(
            f"queue {info.name}",
            "warn",
            f"{counted(number, 'job')} of envelope versions up to {version} left to newer workers",
            "Upgrade the workers that `ferryman workers` names: they read none above their own.",
        )
    ]


def releases(probe: Probe) -> list[Finding]:
    """Were these keys laid out by a release with which this one can share them?"""
    keys = probe.app.store.fleet_keys
    stamp = probe.command("GET", keys.format)
    if stamp is None:
        return [Finding("layout", "ok", "nothing has been kept under this prefix yet")]
    try:
        found = layout.verify(layout.read(stamp, keys.format), keys.prefix)
    except StoreError as error:
        return [Finding("layout", "error", str(error), "See docs/upgrades.md.")]
    same = "as this release writes it" if found == layout.OURS else f"this release writes {layout.FORMAT}"
    return [Finding("layout", "ok", f"keys in format {found.format}, {same}")]


def _size(probe: Probe, info: QueueInfo) -> list[Finding]:
    keys = probe.app.store.keys(info.name)
    number = probe.command("HLEN", keys.jobs)
    try:
        size = probe.command("MEMORY", "USAGE", keys.jobs, "SAMPLES", 20) or 0
    except StoreUnavailable:
        raise
    except StoreError:
        size = 0
    found = []
    if number > _MANY or size > _LARGE:
        what = f"{number:,} jobs" + (f", {bytes_text(size)}" if size else "")
        found.append(Finding(f"queue {info.name}", "warn", f"{what} in one queue",
                             "Add workers, or spread the work over several queues."))  # fmt: skip
    causes = probe.command("HLEN", keys.failures)
    if causes > 100_000:
        found.append(Finding(f"queue {info.name}", "warn", f"{causes:,} causes of failure are counted",
                             f"DEL {keys.failures} forgets the counts."))  # fmt: skip
    return found


CHECKS = (rights, releases, queues)
