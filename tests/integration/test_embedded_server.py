"""The embedded server over its whole life: shared, killed, restarted, stopped, with real processes."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import ferryman
from ferryman.errors import ConfigurationError, StoreUnavailable
from ferryman.store import embedded, embedded_files, filelock
from ferryman.store.embedded import EmbeddedServer, parse
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded store does not run on Windows")

STOP_TIMEOUT = 20.0

# A program that uses the store: says what each INCR answered, asks for the server again when a connection
# breaks.
USER = """
import socket, sys
from pathlib import Path
from ferryman.store.embedded import EmbeddedServer
server = EmbeddedServer.start(Path(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    while True:
        try:
            link = socket.socket(socket.AF_UNIX)
            link.connect(str(server.socket_path))
            while True:
                link.sendall(b"INCR counter\\r\\n")
                reply = link.recv(100)
                if not reply.startswith(b":"):
                    raise OSError(reply)
                print(int(reply[1:]), flush=True)
                if sys.argv[2] == "once":
                    break
            break
        except OSError as error:
            print("retry", error, file=sys.stderr, flush=True)
            server.ensure_running()
"""


class User:
    """A process that uses the store: `incr` asks for one INCR, `pour=True` for INCRs until it is killed."""

    def __init__(self, directory: Path, *, pour: bool = False, output: Any = subprocess.PIPE) -> None:
        package_root = str(Path(ferryman.__path__[0]).parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(directory), "pour" if pour else "once"],
            stdin=subprocess.PIPE,
            stdout=output,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([package_root, os.environ.get("PYTHONPATH", "")]),
            },
        )
        if pour:
            self.go()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ready(self) -> User:
        assert self.line() == "ready"
        return self

    def incr(self) -> int:
        self.go()
        return int(self.line())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self) -> User:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory that must be without a keeper again when the test has ended its users."""
    monkeypatch.delenv("FERRYMAN_SERVER_BINARY", raising=False)
    path = tmp_path / "data"
    yield path
    wait_until(lambda: not in_use(path), STOP_TIMEOUT, "the keeper goes with its last user")


def in_use(directory: Path) -> bool:
    return filelock.held(directory / "keeper.lock") or filelock.held(directory / "server.lock")


def connect(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(server.socket_path), retry=Retry(NoBackoff(), 0), decode_responses=True
    )


def info(server: EmbeddedServer) -> dict[str, Any]:
    with connect(server) as client:
        found: Any = client.info()
        return dict(found)


def keeper_pid(directory: Path) -> int:
    return int((directory / "keeper.lock").read_text().split()[0])


def other_pid(server: EmbeddedServer, old: int) -> int:
    """The pid of the server that replaced the old one."""

    def replaced() -> int:
        pid = int(info(server)["process_id"])
        return pid if pid != old else 0

    return wait_until(replaced, 15, "a new server", ignoring=(redis.ConnectionError, redis.BusyLoadingError))


def test_what_was_written_is_there_after_the_server_was_stopped_and_started_again(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server, connect(server) as client:
        client.set("kept", "yes")
    assert server.close(wait=STOP_TIMEOUT) is True
    with EmbeddedServer.start(directory) as server, connect(server) as client:
        assert client.get("kept") == "yes"


def test_only_its_user_can_reach_the_server(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server:
        assert info(server)["tcp_port"] == 0
        assert stat.S_IMODE(server.socket_path.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
        for path in server.directory.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_configuration_is_ours_and_durable(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server, connect(server) as client:
        expected = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        config: Any = client.config_get(*expected)
        assert config == expected
        assert info(server)["config_file"] == ""


def test_two_uses_in_one_process_share_the_server_until_both_are_closed(directory: Path) -> None:
    first = EmbeddedServer.start(directory)
    second = EmbeddedServer.start(directory / "." / "..//data")
    pid = info(second)["process_id"]
    assert first.close() is False
    assert first.close() is False
    assert info(second)["process_id"] == pid
    second.ensure_running()
    assert second.close(wait=STOP_TIMEOUT) is True


def test_a_closed_use_starts_nothing(directory: Path) -> None:
    server = EmbeddedServer.start(directory)
    server.close(wait=STOP_TIMEOUT)
    with pytest.raises(StoreUnavailable, match="was closed"):
        server.ensure_running()
    assert not in_use(directory)


def test_many_threads_that_start_at_once_get_one_server(directory: Path) -> None:
    servers: list[EmbeddedServer] = []
    threads = [
        threading.Thread(target=lambda: servers.append(EmbeddedServer.start(directory))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({info(server)["process_id"] for server in servers}) == 1
    for server in servers:
        server.close()


def test_processes_that_start_at_once_share_one_server(directory: Path) -> None:
    users = [User(directory) for _ in range(5)]
    try:
        for user in users:
            user.ready()
        assert sorted(user.incr() for user in users) == [1, 2, 3, 4, 5]
    finally:
        for user in users:
            user.kill()


def test_the_server_outlives_a_kill_of_the_process_that_started_it(directory: Path) -> None:
    with User(directory).ready() as starter, EmbeddedServer.start(directory) as server:
        pid = info(server)["process_id"]
        assert starter.incr() == 1
        starter.kill()
        with connect(server) as client:
            assert client.incr("counter") == 2
        assert info(server)["process_id"] == pid


def test_the_server_stops_cleanly_after_its_last_user_was_killed(directory: Path) -> None:
    with User(directory).ready() as user:
        assert user.incr() == 1
    wait_until(lambda: not in_use(directory), STOP_TIMEOUT, "the server stops")
    log = (directory / "server.log").read_text()
    assert "the last user has gone" in log
    assert "the server has stopped (status 0)" in log
    assert not (directory / "server.sock").exists()
    with User(directory).ready() as user:
        assert user.incr() == 2


def test_a_killed_server_comes_back_with_its_data_without_being_asked(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server:
        with connect(server) as client:
            client.set("kept", "yes")
        pid = int(info(server)["process_id"])
        os.kill(pid, signal.SIGKILL)
        other_pid(server, pid)
        with connect(server) as client:
            assert client.get("kept") == "yes"


def test_a_server_that_somebody_shut_down_while_in_use_comes_back(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server:
        pid = int(info(server)["process_id"])
        os.kill(pid, signal.SIGTERM)
        other_pid(server, pid)


def test_ensure_running_waits_for_the_restart(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server:
        pid = int(info(server)["process_id"])
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: embedded._ask(server.socket_path) is embedded._Answer.NONE, 5, "the server is gone"
        )
        server.ensure_running()
        assert info(server)["process_id"] != pid


def test_a_killed_keeper_is_replaced_and_nothing_is_lost(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server:
        pid = int(info(server)["process_id"])
        with connect(server) as client:
            client.set("kept", "yes")
        os.kill(keeper_pid(directory), signal.SIGKILL)
        wait_until(lambda: not filelock.held(directory / "keeper.lock"), 5, "the keeper is dead")
        server.ensure_running()
        assert info(server)["process_id"] != pid
        with connect(server) as client:
            assert client.get("kept") == "yes"


def test_the_keeper_shrugs_off_the_signals_of_a_service_manager(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(keeper_pid(directory), number)
        pid = int(info(server)["process_id"])
        os.kill(pid, signal.SIGKILL)
        other_pid(server, pid)


def test_a_killed_waiter_is_replaced(directory: Path) -> None:
    psutil = pytest.importorskip("psutil")
    with EmbeddedServer.start(directory) as server:
        keeper = psutil.Process(keeper_pid(directory))
        pid = int(info(server)["process_id"])
        [waiter] = [child.pid for child in keeper.children() if child.pid != pid]
        os.kill(waiter, signal.SIGKILL)
        wait_until(lambda: {child.pid for child in keeper.children()} - {pid, waiter}, 5, "a new waiter")
        assert info(server)["process_id"] == pid


def test_a_blocked_or_ignored_signal_of_the_first_user_does_not_reach_the_server(directory: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM})
    ignored = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        server = EmbeddedServer.start(directory)
    finally:
        signal.signal(signal.SIGCHLD, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert server.close(wait=STOP_TIMEOUT) is True


def test_a_forked_child_keeps_the_server_until_it_ends(directory: Path) -> None:
    server = EmbeddedServer.start(directory)
    pid = info(server)["process_id"]
    context = multiprocessing.get_context("fork")
    leave = context.Event()
    child = context.Process(target=leave.wait)
    child.start()
    server.close()
    with EmbeddedServer.start(directory) as again:
        assert info(again)["process_id"] == pid
    leave.set()
    child.join()
    wait_until(lambda: not in_use(directory), STOP_TIMEOUT, "the server stops with the child")


def test_a_program_started_with_subprocess_does_not_keep_the_server(directory: Path) -> None:
    server = EmbeddedServer.start(directory)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        assert server.close(wait=STOP_TIMEOUT) is True


def test_a_user_who_comes_while_the_server_stops_waits_and_gets_a_new_one(directory: Path) -> None:
    for round_number in range(1, 6):
        with EmbeddedServer.start(directory) as server, connect(server) as client:
            assert client.incr("counter") == round_number


def test_files_left_by_a_power_cut_are_no_hindrance(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    for name in ("users.lock", "server.lock"):
        (directory / name).touch()
    (directory / "keeper.lock").write_text("1 elsewhere\n")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(embedded_files.socket_path(directory)))
    with EmbeddedServer.start(directory) as server:
        assert info(server)["process_id"]


def test_a_directory_removed_under_a_running_program_is_made_anew_by_the_next_start(directory: Path) -> None:
    first = EmbeddedServer.start(directory)
    shutil.rmtree(directory)
    with EmbeddedServer.start(directory) as second, connect(second) as client:
        assert client.dbsize() == 0
    first.close()


def append_only_file(directory: Path) -> Path:
    [path] = directory.glob("appendonlydir/*.incr.aof")
    return path


def stopped_after_writing(directory: Path) -> None:
    with EmbeddedServer.start(directory) as server, connect(server) as client:
        for number in range(100):
            client.set(f"key:{number}", "x" * 100)
    assert server.close(wait=STOP_TIMEOUT)


def test_an_append_only_file_cut_off_at_its_end_is_loaded(directory: Path) -> None:
    stopped_after_writing(directory)
    aof = append_only_file(directory)
    os.truncate(aof, aof.stat().st_size - 10)
    with EmbeddedServer.start(directory) as server, connect(server) as client:
        assert client.dbsize() == 99


def test_a_damaged_append_only_file_is_reported_at_once_with_log_and_advice(directory: Path) -> None:
    stopped_after_writing(directory)
    aof = append_only_file(directory)
    data = bytearray(aof.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = b"\0" * 200
    aof.write_bytes(data)
    began = time.monotonic()
    with pytest.raises(
        StoreUnavailable, match=r"did not start\. The append-only file is damaged(?s:.*)Bad file format"
    ):
        EmbeddedServer.start(directory)
    assert time.monotonic() - began < 10


def test_data_of_a_newer_server_is_reported_with_advice(
    directory: Path, redis_server_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after_writing(directory)
    monkeypatch.setenv("FERRYMAN_SERVER_BINARY", str(redis_server_binary))
    with pytest.raises(StoreUnavailable, match="was written by a newer server"):
        EmbeddedServer.start(directory)


def test_the_distributions_redis_server_serves_as_well(
    directory: Path, redis_server_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRYMAN_SERVER_BINARY", str(redis_server_binary))
    with EmbeddedServer.start(directory) as server, connect(server) as client:
        assert info(server)["redis_version"]
        client.set("kept", "yes")
    server.close(wait=STOP_TIMEOUT)
    with EmbeddedServer.start(directory) as server, connect(server) as client:
        assert client.get("kept") == "yes"


def program(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_a_server_that_cannot_start_is_an_error_with_what_it_said(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = program(tmp_path / "server", "#!/bin/sh\necho 'GLIBC_2.99 not found' >&2\nexit 1\n")
    monkeypatch.setenv("FERRYMAN_SERVER_BINARY", broken)
    with pytest.raises(StoreUnavailable, match=r"did not start(?s:.*)glibc(?s:.*)GLIBC_2\.99"):
        EmbeddedServer.start(directory)


def test_a_program_that_the_system_cannot_run_is_an_error(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRYMAN_SERVER_BINARY", program(tmp_path / "server", "no program at all"))
    with pytest.raises(StoreUnavailable, match="cannot run"):
        EmbeddedServer.start(directory)


def test_a_server_that_dies_again_and_again_is_given_up_by_its_user_in_time(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRYMAN_SERVER_BINARY", program(tmp_path / "server", "#!/bin/sh\nkill -9 $$\n"))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        EmbeddedServer.start(directory, timeout=1.5)
    assert (directory / "server.log").read_text().count("restarting") < 10


def test_a_file_system_without_locks_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", no_locks)
        with pytest.raises(ConfigurationError, match="has no file locks"):
            EmbeddedServer.start(directory)


def test_a_directory_too_long_for_a_socket_works_for_every_process(directory: Path) -> None:
    deep = directory / ("x" * 60) / ("y" * 60)
    with EmbeddedServer.start(deep) as server, User(deep).ready() as user:
        assert user.incr() == 1
        with connect(server) as client:
            assert client.incr("counter") == 2
        server.close()
        user.kill()
    wait_until(lambda: not in_use(deep), STOP_TIMEOUT, "the server stops")


def test_a_long_log_is_set_aside_at_the_next_start(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    (directory / "users.lock").touch()
    (directory / "server.log").write_bytes(b"x" * 1_100_000)
    with EmbeddedServer.start(directory):
        assert (directory / "server.log").stat().st_size < 100_000
        assert (directory / "server.log.1").stat().st_size == 1_100_000


def test_a_url_leads_to_a_running_server(directory: Path) -> None:
    with EmbeddedServer.start(parse(f"embedded://{directory}")) as server:
        assert server.directory == directory.resolve()
        assert info(server)["process_id"]


def kill_somebody(users: list[User], dice: random.Random) -> None:
    """One of the users, or, as at the end of a machine's work, all of them in one moment."""
    victims = users[:] if dice.random() < 0.3 else [dice.choice(users)]
    for user in victims:
        user.process.kill()
    for user in victims:
        user.kill()
        users.remove(user)


def kill_keeper_or_server(directory: Path, dice: random.Random) -> None:
    """SIGKILL to what the kernel says is our keeper, or our server, just now; nothing if there is none."""
    psutil = pytest.importorskip("psutil")
    try:
        keeper = psutil.Process(keeper_pid(directory))
        if str(directory) in keeper.cmdline():
            dice.choice([keeper, *keeper.children()]).kill()
    except (psutil.Error, OSError, ValueError, IndexError):
        pass


@pytest.mark.parametrize("faults", [False, True], ids=["users die", "keepers and servers die too"])
def test_no_acknowledged_increment_is_lost_while_processes_come_and_are_killed_at_random(
    faults: bool, directory: Path, tmp_path: Path
) -> None:
    """A lost INCR would be given out twice: all answers that anybody ever saw must be different."""
    dice = random.Random(20260417)
    users: list[User] = []
    outputs: list[Path] = []
    deadline = time.monotonic() + float(os.environ.get("FERRYMAN_EMBEDDED_STORM_SECONDS", "5"))
    try:
        # On a busy machine a user may need longer to begin than it is given to live, so nobody is killed
        # before some work was done.
        worked = False
        while time.monotonic() < deadline or (not worked and time.monotonic() < deadline + 60):
            worked = worked or any(path.stat().st_size > 0 for path in outputs)
            if len(users) < dice.randint(1, 5):
                outputs.append(tmp_path / f"answers-{len(outputs)}")
                with open(outputs[-1], "wb") as output:
                    users.append(User(directory, pour=True, output=output))
            for user in users:
                assert user.process.poll() is None, (
                    "a user ended by itself; its error is in the captured output"
                )
            if worked and users and dice.random() < 0.35:
                kill_somebody(users, dice)
            if worked and faults and dice.random() < 0.1:
                kill_keeper_or_server(directory, dice)
            time.sleep(dice.choice([0.0, 0.01, 0.05, 0.1]))  # the storm's own rhythm; nothing is waited for
    finally:
        for user in users:
            user.kill()
    answers = [int(line) for path in outputs for line in path.read_text().split("\n")[:-1] if line.isdigit()]
    assert answers, "the storm left nobody the time to work"
    assert len(answers) == len(set(answers))
    with EmbeddedServer.start(directory) as server, connect(server) as client:
        counter = int(str(client.get("counter")))
    assert counter >= max(answers)
    if not faults:
        assert counter <= len(answers) + len(outputs), "at most one INCR of each killed user went unanswered"
    starts = (directory / "server.log").read_text().count("keeper: starting")
    assert starts > 1
