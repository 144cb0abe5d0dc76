"""Is this Redis fit to hold jobs? Each check asks a `Probe` and gives its findings."""

from __future__ import annotations

import re
import time

from ferryman.doctor_probe import Finding, Probe, bytes_text
from ferryman.errors import StoreDenied, StoreError, StoreUnavailable

OLDEST = {"redis": (6, 2), "valkey": (7, 2)}
_PINGS = 200
_SLOW_US = 20_000


def reachable(probe: Probe) -> list[Finding]:
    """Does it answer, and does it let us in?"""
    where = str(probe.app.store.address)
    try:
        probe.command("PING")
    except StoreDenied as error:
        return [Finding("login", "error", str(error), "Mend the user and password in the URL, or the ACL.")]
    except StoreUnavailable as error:
        return [Finding("reachable", "error", str(error), "Start it, or mend host, port and TLS in the URL.")]
    return [Finding("reachable", "ok", f"{where} answers")]


def version(probe: Probe) -> list[Finding]:
    """Is the server new enough?"""
    info = probe.info
    if "dragonfly_version" in info:
        return [
            Finding(
                "version",
                "warn",
                f"Dragonfly {info['dragonfly_version']}: Ferryman is tested with Redis and Valkey only",
                "Use Redis 6.2 or Valkey 7.2 and later.",
            )
        ]
    kind = "valkey" if "valkey_version" in info else "redis"
    text = info.get(f"{kind}_version", "")
    parts = re.findall(r"\d+", text)[:2]
    if len(parts) < 2:
        return [Finding("version", "unknown", "the server does not say which version it is")]
    name = f"{kind.capitalize()} {text}"
    if (int(parts[0]), int(parts[1])) < OLDEST[kind]:
        needed = ".".join(map(str, OLDEST[kind]))
        return [Finding("version", "error", f"{name} is too old", f"Ferryman needs {needed} or later.")]
    return [Finding("version", "ok", name)]


def cluster(probe: Probe) -> list[Finding]:
    """Is it one server, or a cluster that is whole and spoken to as one?"""
    if probe.info.get("cluster_enabled") != "1":
        return []
    if not probe.app.store.is_cluster:
        return [
            Finding(
                "cluster",
                "error",
                "this server is a node of a cluster and holds only some of the queues' keys",
                "Name it in a redis+cluster:// URL: the other nodes are found by themselves.",
            )
        ]
    facts = dict(
        line.split(":", 1) for line in probe.command("CLUSTER", "INFO").decode().splitlines() if ":" in line
    )
    size = f"{facts.get('cluster_size')} primaries, {facts.get('cluster_known_nodes')} nodes"
    if facts.get("cluster_state") == "ok":
        return [Finding("cluster", "ok", f"{size}, every slot is served")]
    return [
        Finding(
            "cluster",
            "error",
            f"{size}; only {facts.get('cluster_slots_ok')} of 16384 slots are served",
            "See CLUSTER NODES: a primary is down and no replica took over, or slots were never assigned.",
        )
    ]


def eviction(probe: Probe) -> list[Finding]:
    """Could the server throw jobs away to make room?"""
    limit = probe.number("maxmemory")
    policy = probe.config("maxmemory-policy") or probe.info.get("maxmemory_policy")
    if policy is None:
        return [Finding("eviction", "unknown", "the server does not say its maxmemory-policy",
                        "Make sure that it is noeviction.")]  # fmt: skip
    if policy == "noeviction":
        return [Finding("eviction", "ok", "noeviction: a full Redis refuses new jobs and keeps those it has")]
    if policy.startswith("volatile"):
        what = (
            f"maxmemory-policy is {policy}: a full Redis deletes results, workers' notes and what keeps a "
            "repeated enqueue from counting twice"
        )
    else:
        what = f"maxmemory-policy is {policy}: a full Redis deletes whole queues of jobs without a word"
    do = "CONFIG SET maxmemory-policy noeviction, and write it into redis.conf."
    if limit == 0:
        return [Finding("eviction", "warn", f"{what} (not yet: maxmemory is not set)", do)]
    return [Finding("eviction", "error", what, do)]


def memory(probe: Probe) -> list[Finding]:
    """How much room is left?"""
    used, limit = probe.number("used_memory"), probe.number("maxmemory")
    if used is None:
        return [Finding("memory", "unknown", "the server does not say how much memory it uses")]
    machine = probe.number("total_system_memory") or 0
    most = limit or machine
    left = f", {bytes_text(max(most - used, 0))} left of {bytes_text(most)}" if most else ""
    what = f"{bytes_text(used)} used{left}"
    if limit:
        share = used / limit
        if share > 0.95:
            return [Finding("memory", "error", f"{what}: new jobs are refused, or soon will be",
                            "Raise maxmemory, purge what is not needed, or add workers.")]  # fmt: skip
        if share > 0.75:
            return [Finding("memory", "warn", what, "Raise maxmemory or drain the queues before it is full.")]
        return [Finding("memory", "ok", what)]
    if machine and used > machine / 2:
        return [Finding("memory", "warn", f"{what}; maxmemory is not set, so nothing stops it",
                        "Set maxmemory to what Redis may use, with noeviction.")]  # fmt: skip
    return [Finding("memory", "ok", f"{what} (maxmemory is not set)")]


def persistence(probe: Probe) -> list[Finding]:
    """What is left of the jobs when Redis restarts?"""
    info = probe.info
    if info.get("loading") == "1":
        return [Finding("persistence", "error", "Redis is still reading its files", "Wait until it has.")]
    if "aof_enabled" not in info:
        return [Finding("persistence", "unknown", "the server does not say how it persists",
                        "Make sure that it appends to a file (appendonly yes).")]  # fmt: skip
    failed = _failed_saves(probe)
    if info["aof_enabled"] == "1":
        return [*failed, _aof(probe.config("appendfsync"))]
    save = probe.config("save")
    do = "CONFIG SET appendonly yes, and write it into redis.conf: then a restart loses a second at most."
    if save is None:
        what = "no append-only file: what came after the last snapshot is lost when Redis restarts"
    elif save:
        what = f"snapshots only (save {save}): jobs that came after the last one are lost when Redis restarts"
    else:
        what = "nothing is written to disk: every job is lost when Redis restarts"
    return [*failed, Finding("persistence", "warn", what, do)]


def _aof(fsync: str | None) -> Finding:
    promises = {
        "always": "append-only file, fsync always: what was acknowledged survives even a power cut",
        "everysec": "append-only file, fsync everysec: a power cut loses about the last second, "
        "the death of the process nothing",
    }
    if fsync in promises:
        return Finding("persistence", "ok", promises[fsync])
    if fsync is None:
        return Finding("persistence", "ok", "append-only file (how often it is synced is not said)")
    return Finding(
        "persistence",
        "warn",
        "append-only file, fsync no: a power cut loses up to half a minute",
        "CONFIG SET appendfsync everysec.",
    )


def _failed_saves(probe: Probe) -> list[Finding]:
    names = {"aof_last_write_status": "write to the append-only file", "rdb_last_bgsave_status": "snapshot"}
    found = []
    for name, what in names.items():
        if probe.info.get(name, "ok") != "ok":
            stops = name.startswith("aof") or probe.config("stop-writes-on-bgsave-error") != "no"
            found.append(
                Finding(
                    "disk",
                    "error" if stops else "warn",
                    f"the last {what} failed" + (", so Redis refuses to write" if stops else ""),
                    "Look for a full disk or missing permission in the server's log.",
                )
            )
    return found


def replication(probe: Probe) -> list[Finding]:
    """Is this the primary, and what does a failover cost?"""
    role = probe.info.get("role", "")
    if role in ("slave", "replica"):
        return [Finding("replication", "error", "this server is a read-only replica",
                        "Name the primary in the URL.")]  # fmt: skip
    replicas = probe.number("connected_slaves")
    if not replicas:
        return [Finding("replication", "ok", "no replicas: if this machine is lost, so are its jobs")]
    least = probe.config("min-replicas-to-write")
    what = f"{replicas} replica{'s' if replicas > 1 else ''}"
    if least == "0":
        return [
            Finding(
                "replication",
                "warn",
                f"{what}, min-replicas-to-write 0: a failover forgets what no replica had yet",
                "CONFIG SET min-replicas-to-write 1 bounds that to min-replicas-max-lag seconds.",
            )
        ]
    return [Finding("replication", "ok", what + (f", min-replicas-to-write {least}" if least else ""))]


def clock(probe: Probe) -> list[Finding]:
    """Do the server's clock, which rules, and this machine's agree?"""
    best, offset = float("inf"), 0.0
    for _ in range(3):
        before = time.time()
        reply = probe.command("TIME")
        after = time.time()
        if after - before < best:
            best = after - before
            offset = int(reply[0]) + int(reply[1]) / 1e6 - (before + after) / 2
    side = "ahead of" if offset > 0 else "behind"
    what = f"the server's clock is {abs(offset) * 1000:.0f} ms {side} this host's"
    if abs(offset) > 1:
        return [
            Finding(
                "clock",
                "warn",
                f"{what}: delays are right, but at= and this host's logs are off by that",
                "Keep both in time with NTP.",
            )
        ]
    return [Finding("clock", "ok", what)]


def latency(probe: Probe) -> list[Finding]:
    """How long does a round trip take?"""
    taken: list[float] = []
    end = time.monotonic() + 2
    with probe.app.store.pool.lane() as lane:
        lane.command("PING")
        while len(taken) < _PINGS and time.monotonic() < end:
            before = time.perf_counter()
            lane.command("PING")
            taken.append((time.perf_counter() - before) * 1000)
    taken.sort()
    p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    what = f"PING p50 {p50:.2f} ms, p99 {p99:.2f} ms ({len(taken)} calls)"
    if p50 > 5 or p99 > 50:
        return [Finding("latency", "warn", what, "Bring workers and Redis closer; look for slow commands.")]
    return [Finding("latency", "ok", what)]


def slow_scripts(probe: Probe) -> list[Finding]:
    """Have scripts kept Redis busy lately?"""
    try:
        entries = probe.command("SLOWLOG", "GET", 128)
    except StoreUnavailable:
        raise
    except StoreError:
        return [Finding("slow scripts", "unknown", "SLOWLOG is forbidden here")]
    since = time.time() - 3600
    slow = [
        entry[2]
        for entry in entries
        if entry[1] >= since and entry[2] >= _SLOW_US and entry[3][0].upper() in (b"EVALSHA", b"EVAL")
    ]
    if slow:
        return [
            Finding(
                "slow scripts",
                "warn",
                f"{len(slow)} scripts took over {_SLOW_US // 1000} ms within the hour, "
                f"the slowest {max(slow) / 1000:.0f} ms",
                "SLOWLOG GET names them; a busy or swapping machine is the usual cause.",
            )
        ]
    return [Finding("slow scripts", "ok", "none in the slow log within the hour")]


def clients(probe: Probe) -> list[Finding]:
    """Will connections be refused or cut?"""
    found = []
    now, most = probe.number("connected_clients"), probe.number("maxclients")
    if most is None:
        text = probe.config("maxclients")
        most = int(text) if text else None
    if now is not None and most:
        near = now > most * 0.8
        found.append(
            Finding(
                "connections",
                "warn" if near else "ok",
                f"{now} of {most} connections",
                "Raise maxclients before workers are refused." if near else "",
            )
        )
    idle = probe.config("timeout")
    if idle is not None and 0 < int(idle) <= 10:
        found.append(
            Finding(
                "idle timeout",
                "warn",
                f"Redis closes a connection that is idle for {idle} s, so idle workers keep reconnecting",
                "CONFIG SET timeout 0, or a minute and more.",
            )
        )
    limits = (probe.config("client-output-buffer-limit") or "").split()
    hard = int(limits[limits.index("normal") + 1]) if "normal" in limits else 0
    if 0 < hard < 64 * 1024**2:
        found.append(
            Finding(
                "output buffers",
                "warn",
                f"Redis cuts a client off whose unread replies exceed {bytes_text(hard)}: "
                "a batch of large jobs can be that",
                "CONFIG SET client-output-buffer-limit 'normal 0 0 0'.",
            )
        )
    return found


CHECKS = (
    version, cluster, eviction, memory, persistence, replication, clock, latency, slow_scripts, clients,
)  # fmt: skip
