"""The doctor, before servers that are fit to hold jobs and servers that are not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ferryman
from ferryman import Ferryman, doctor, doctor_jobs, doctor_rights, doctor_server
from ferryman.doctor_probe import Finding, Probe, bytes_text
from ferryman.store import transitions
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def private() -> Iterator[RedisServer]:
    """A server whose settings the tests of this file change."""
    with RedisServer(aof=True, tcp=True) as running:
        yield running


@pytest.fixture
def app(private: RedisServer, prefix: str) -> Ferryman:
    """An app on the private server."""
    return Ferryman(private.unix_url, prefix=prefix, patience_s=0)


def found(app: Ferryman, *checks: doctor.Check) -> dict[str, Finding]:
    """Findings by the name of their check; the last of a name counts."""
    return {finding.check: finding for finding in doctor.examine(app, checks or doctor.CHECKS).findings}


def test_a_server_that_appends_and_never_evicts_is_fit(app: Ferryman, private: RedisServer) -> None:
    report = doctor.examine(app)
    assert report.fit
    assert [finding for finding in report.findings if finding.status != "ok"] == []
    assert {"version", "eviction", "memory", "persistence", "clock", "latency", "rights", "trial job"} <= set(
        found(app)
    )
    with private.client() as client:
        assert client.keys(f"{app.store.prefix}*") == []


def test_the_distribution_s_redis_is_examined_as_well(redis_server: RedisServer, prefix: str) -> None:
    report = doctor.examine(Ferryman(redis_server.unix_url, prefix=prefix))
    assert report.fit
    by_name = {finding.check: finding for finding in report.findings}
    assert by_name["version"].what.startswith("Redis ")
    assert by_name["persistence"].status == "warn"
    assert "every job is lost" in by_name["persistence"].what


@pytest.mark.parametrize(
    "policy, maxmemory, status",
    [
        ("allkeys-lru", "200mb", "error"),
        ("volatile-ttl", "200mb", "error"),
        ("allkeys-lru", "0", "warn"),
        ("noeviction", "200mb", "ok"),
    ],
)
def test_a_server_that_evicts_is_refused(
    app: Ferryman, private: RedisServer, policy: str, maxmemory: str, status: str
) -> None:
    with private.client() as client:
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", maxmemory)
        try:
            finding = found(app, doctor_server.eviction)["eviction"]
        finally:
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")
    assert finding.status == status
    assert (status == "ok") or "noeviction" in finding.do


def test_a_full_server_is_an_error_and_a_nearly_full_one_a_warning(
    app: Ferryman, private: RedisServer
) -> None:
    probe = Probe(app)
    probe.info.update({"used_memory": "96", "maxmemory": "100"})
    assert doctor_server.memory(probe)[0].status == "error"
    probe.info["used_memory"] = "80"
    assert doctor_server.memory(probe)[0].status == "warn"


@pytest.mark.parametrize(
    "setting, value, status, word",
    [
        ("appendfsync", "always", "ok", "power cut"),
        ("appendfsync", "no", "warn", "half a minute"),
        ("appendonly", "no", "warn", "every job is lost"),
    ],
)
def test_what_a_restart_costs_is_said(
    app: Ferryman, private: RedisServer, setting: str, value: str, status: str, word: str
) -> None:
    with private.client() as client:
        before = client.config_get(setting)
        client.config_set(setting, value)
        try:
            finding = found(app, doctor_server.persistence)["persistence"]
        finally:
            name, old = next(iter(before.items()))
            client.config_set(name, old)
    assert finding.status == status
    assert word in finding.what


def test_a_replica_is_refused_and_a_primary_s_weak_promise_named(app: Ferryman, private: RedisServer) -> None:
    with RedisServer(args=["--replicaof", "127.0.0.1", str(private.port)]) as replica:
        assert found(Ferryman(replica.unix_url), doctor_server.replication)["replication"].status == "error"
        with private.client() as client:
            wait_until(lambda: client.info("replication")["connected_slaves"], 15)
            finding = found(app, doctor_server.replication)["replication"]
            assert finding.status == "warn"
            assert "min-replicas-to-write 1" in finding.do


def test_commands_that_the_acl_forbids_are_named(app: Ferryman, private: RedisServer) -> None:
    prefix = app.store.prefix
    with private.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "poor", "on", ">pass", f"~{prefix}:*", f"&{prefix}:*", "+@all", "-blpop",
            "-subscribe", "-config", "-script|load",
        )  # fmt: skip
    poor = Ferryman(f"unix://poor:pass@{private.socket_path}", prefix=prefix)
    finding = found(poor, doctor_rights.rights)["rights"]
    assert finding.status == "error"
    assert "BLPOP" in finding.what
    assert "SUBSCRIBE" in finding.what
    assert "SCRIPT LOAD" in finding.what
    assert "+blpop" in finding.do
    assert "+script|load" in finding.do


def test_keys_outside_of_the_acl_are_an_error(app: Ferryman, private: RedisServer) -> None:
    with private.client() as client:
        client.execute_command("ACL", "SETUSER", "other", "on", ">pass", "~other:*", "&other:*", "+@all")
    poor = Ferryman(f"unix://other:pass@{private.socket_path}", prefix=app.store.prefix)
    assert found(poor, doctor_rights.rights)["rights"].status == "error"


def test_a_managed_server_that_hides_its_settings_is_judged_by_what_it_says(
    app: Ferryman, private: RedisServer
) -> None:
    prefix = app.store.prefix
    with private.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "managed", "on", ">pass", f"~{prefix}:*", f"&{prefix}:*", "+@all", "-config",
            "-slowlog", "-memory|usage",
        )  # fmt: skip
    managed = Ferryman(f"unix://managed:pass@{private.socket_path}", prefix=prefix)
    findings = found(managed)
    assert findings["eviction"].status == "ok"
    assert findings["persistence"].status == "ok"
    assert findings["slow scripts"].status == "unknown"
    with private.client() as client:
        client.execute_command("ACL", "SETUSER", "managed", "-info")
    findings = found(managed)
    assert findings["eviction"].status == "unknown"
    assert findings["persistence"].status == "unknown"
    assert doctor.examine(managed).fit


def test_a_wrong_password_is_an_error_that_does_not_show_it(private: RedisServer) -> None:
    report = doctor.examine(Ferryman(f"unix://poor:wr0ng@{private.socket_path}"))
    assert not report.fit
    assert report.findings[0].check == "login"
    assert "wr0ng" not in repr(report)


def test_a_server_that_is_away_is_an_error_and_ends_the_examination() -> None:
    report = doctor.examine(Ferryman("unix:///nowhere/redis.sock", patience_s=0))
    assert [finding.check for finding in report.findings] == ["reachable"]
    assert not report.fit


@pytest.mark.parametrize(
    "info, status",
    [
        ({"redis_version": "6.0.9"}, "error"),
        ({"redis_version": "6.2.1"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, "ok"),
        ({"redis_version": "7.2.4", "dragonfly_version": "df-1.2"}, "warn"),
        ({}, "unknown"),
    ],
)
def test_old_and_strange_servers(app: Ferryman, info: dict[str, str], status: str) -> None:
    probe = Probe(app)
    probe.info.clear()
    probe.info.update(info)
    assert doctor_server.version(probe)[0].status == status


def test_other_troubles_of_a_server_are_named(app: Ferryman, private: RedisServer) -> None:
    probe = Probe(app)
    probe.info.update({"cluster_enabled": "1", "aof_last_write_status": "err", "connected_clients": "9900"})
    assert doctor_server.cluster(probe)[0].status == "error"
    assert doctor_server.persistence(probe)[0].check == "disk"
    assert doctor_server.persistence(probe)[0].status == "error"
    with private.client() as client:
        client.config_set("timeout", "5")
        client.config_set("client-output-buffer-limit", "normal 1mb 0 0")
        try:
            assert [finding.check for finding in doctor_server.clients(probe)] == [
                "connections", "idle timeout", "output buffers",
            ]  # fmt: skip
            assert {finding.status for finding in doctor_server.clients(probe)} == {"warn"}
        finally:
            client.config_set("timeout", "0")
            client.config_set("client-output-buffer-limit", "normal 0 0 0")


def test_a_slow_script_is_seen(app: Ferryman, private: RedisServer) -> None:
    with private.client() as client:
        client.config_resetstat()
        client.slowlog_reset()
        client.eval("local start = os.clock() repeat until os.clock() - start > 0.03", 0)
        finding = found(app, doctor_server.slow_scripts)["slow scripts"]
        client.slowlog_reset()
    assert finding.status == "warn"


def test_a_queue_without_workers_and_its_dead_letters_are_named(app: Ferryman) -> None:
    app.queue("mail").enqueue("x:y")
    finding = found(app, doctor_jobs.queues)["queue mail"]
    assert finding.status == "warn"
    assert "1 job waiting" in finding.what
    assert finding.do == "ferryman worker MODULE -q mail"
    app.queue("mail").pause("why not")
    assert "paused (why not)" in found(app, doctor_jobs.queues)["queue mail"].what


def test_jobs_of_a_holder_without_a_lease_are_found(app: Ferryman, private: RedisServer) -> None:
    app.queue("mail").enqueue("x:y")
    keys = app.store.keys("mail")
    app.store.run(transitions.register(keys, "lost", 60_000))
    app.store.run(transitions.fetch(keys, "lost", 1))
    app.store.pool.command("ZREM", keys.workers, "lost")
    finding = found(app, doctor_jobs.queues)["queue mail"]
    assert "1 job held by 1 lost worker" in finding.what
    assert "Start a worker" in finding.do


def test_every_command_that_ferryman_sends_is_among_those_that_are_tried() -> None:
    package = Path(ferryman.__file__).parent
    scripts = "".join(path.read_text() for path in (package / "store" / "lua").rglob("*.lua"))
    used = set(re.findall(r"""redis\.p?call\(\s*['"](\w+)['"]""", scripts))
    rooms = [package, package / "store", package / "worker", package / "scheduler"]
    code = "".join(path.read_text() for room in rooms for path in room.glob("*.py"))
    used |= set(re.findall(r"""(?:command|send)\(\s*"([A-Z]+)\"""", code))
    used |= set(re.findall(r"""yield \(\s*"([A-Z]+)\"""", code))
    # Of the doctor, of the connection, of clusters and sentinels, of durability.
    optional = {
        "INFO",
        "CONFIG",
        "SLOWLOG",
        "MEMORY",
        "AUTH",
        "SELECT",
        "CLUSTER",
        "ASKING",
        "ROLE",
        "WAITAOF",
    }
    assert used - optional <= {name.split()[0] for name in doctor_rights.COMMANDS}


def test_secrets_are_masked_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_PICKLE_KEY", "k3y-k3y-k3y-k3y-k3y-k3y-k3y-k3y-")
    shown = {s.name: s for s in doctor.settings_shown(Ferryman("unix://u:s3cr@/x?db=1").settings)}
    assert shown["pickle_key"].value == "***"
    assert shown["pickle_key"].source == "environment"
    assert shown["url"].source == "argument"
    assert "s3cr" not in repr(shown)
    assert shown["lease_s"].source == "default"


def test_sizes_are_said_for_people() -> None:
    assert [bytes_text(size) for size in (12, 2048, 5 * 1024**2, 300 * 1024**3)] == [
        "12 bytes",
        "2.0 KB",
        "5.0 MB",
        "300 GB",
    ]


def test_the_command_prints_json_and_exits_1_for_an_error(private: RedisServer) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ferryman", "doctor", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    good = run("--url", private.url, "--json")
    assert good.returncode == 0
    report = json.loads(good.stdout)
    assert report["fit"] is True
    assert {"check", "status", "what", "do"} == set(report["findings"][0])
    assert {"name", "value", "source", "meaning"} == set(report["settings"][0])
    bad = run("--url", "unix://:s3cr@/nowhere/redis.sock")
    assert bad.returncode == 1
    assert "Not fit to hold jobs: 1 error" in bad.stdout
    assert "s3cr" not in bad.stdout + bad.stderr
    assert "Traceback" not in bad.stderr
