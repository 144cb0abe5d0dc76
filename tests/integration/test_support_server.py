"""The test servers themselves: they keep, lose and end what they should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.support.server import Kind, RedisServer
from tests.support.waiting import wait_until


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_server_answers_on_its_socket_and_its_port(kind: Kind, request: pytest.FixtureRequest) -> None:
    if kind == "redis":
        request.getfixturevalue("redis_server_binary")
    with RedisServer(kind, tcp=True, args=["--maxmemory", "50mb"]) as server:
        assert server.url == f"redis://127.0.0.1:{server.port}"
        with server.client() as client, redis.Redis.from_url(server.unix_url) as other:
            client.set("key", "value")
            assert other.get("key") == b"value"
            assert other.config_get("maxmemory") == {b"maxmemory": b"52428800"} or other.config_get(
                "maxmemory"
            ) == {"maxmemory": "52428800"}
    assert not server.directory.exists()


def test_a_killed_server_keeps_what_was_in_its_aof_and_only_then() -> None:
    for aof, kept in ((True, b"yes"), (False, None)):
        with RedisServer(aof=aof) as server:
            with server.client() as client:
                client.set("kept", "yes")
            first = server.pid
            server.kill()
            with server.client() as client, pytest.raises(redis.ConnectionError):
                client.ping()
            server.restart()
            assert server.pid != first
            with server.client() as client:
                assert client.get("kept") == kept


def test_a_paused_server_does_not_answer() -> None:
    with RedisServer() as server, server.client(socket_timeout=0.2) as client:
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        with server.client() as patient:
            assert patient.ping()


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(AssertionError, match="no-such-option"):
        RedisServer(args=["--no-such-option", "1"])


def test_servers_die_with_a_killed_test_process(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom tests.support.server import RedisServer\n"
        "server = RedisServer()\nprint(server.pid, server.directory, flush=True)\nsys.stdin.read()\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
    ) as run:
        assert run.stdout is not None
        pid, directory = run.stdout.readline().split()
        os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not Path(directory).exists(), 10, "the guard removes the directory")
    wait_until(lambda: not _runs(int(pid)), 10, "the guard kills the server")


def _runs(pid: int) -> bool:
    psutil = pytest.importorskip("psutil")
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_waiting_returns_the_first_true_value_and_says_what_was_not_met() -> None:
    answers = iter([0, 0, 7])
    assert wait_until(lambda: next(answers), 5) == 7
    with pytest.raises(AssertionError, match=r"not met within 0\.01 s: the sky falls"):
        wait_until(lambda: False, 0.01, "the sky falls")
    with pytest.raises(AssertionError, match="division") as caught:
        wait_until(lambda: 1 / 0, 0.01, "division", ignoring=ZeroDivisionError)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_shared_server_keeps_tests_apart_by_prefix(client: redis.Redis, prefix: str) -> None:
    client.set(f"{prefix}:a", 1)
    assert list(client.scan_iter(f"{prefix}:*")) == [f"{prefix}:a".encode()]
