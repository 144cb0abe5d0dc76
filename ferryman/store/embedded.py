"""The embedded store: a real server that Ferryman starts, shares between processes, restarts and stops.

    with EmbeddedServer.start(parse("embedded:///var/lib/shop")) as server:
        redis.Redis(unix_socket_path=str(server.socket_path)).ping()

The first process that uses a data directory starts the server through a *keeper* (`ferryman/store/keeper.py`,
which also tells how the locks work); later ones find it. The keeper restarts a server that was killed, and
stops it, its append-only file written, when the last user has gone, by `close`, by exit or by kill -9.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from ferryman.errors import StoreUnavailable
from ferryman.store import filelock
from ferryman.store.embedded_files import (
    find_binary,
    find_interpreter,
    hint,
    log_tail,
    parse,
    prepare_directory,
    server_command,
    socket_path,
    wheel_binary,
)

__all__ = ["EmbeddedServer", "parse", "wheel_binary"]

START_TIMEOUT_S = 20.0
LOAD_TIMEOUT_S = 900.0


class _Answer(Enum):
    NONE = "none"
    LOADING = "loading"
    READY = "ready"


class EmbeddedServer:
    """One use of the server of a data directory; uses in one process share one lock, uses in many one server.

    A child made by `os.fork` (not by `subprocess` or a spawned `multiprocessing` child) inherits its parent's
    use, and keeps the server alive until it ends or calls `close` itself.
    """

    directory: Path
    socket_path: Path

    def __init__(self, use: _Use) -> None:
        self._use: _Use | None = use
        self.directory = use.directory
        self.socket_path = use.socket_path

    @classmethod
    def start(cls, directory: Path, *, timeout: float = START_TIMEOUT_S) -> Self:
        """Use the server of this directory; start it if it does not run. Returns when it answers.

        Waits `timeout` seconds for it, and longer (`LOAD_TIMEOUT_S`) only while it reads its append-only
        file. Raises `ConfigurationError` for a directory or a platform that cannot work, `StoreUnavailable`
        for a server that does not start, with the end of its log.
        """
        find_binary()  # first of all: the clearest error, and no directory is made in vain
        server = cls(_Use.of(prepare_directory(directory)))
        try:
            server.ensure_running(timeout)
        except BaseException:
            server.close()
            raise
        return server

    def ensure_running(self, timeout: float = START_TIMEOUT_S) -> None:
        """Return when the server answers: at once when all is well, else after a wait or a new start.

        For whoever lost a connection, before connecting again; cheap (one PING), and safe from any thread.
        Raises like `start`, and `StoreUnavailable` after `close`.
        """
        if self._use is None:
            raise StoreUnavailable(f"the embedded store in {self.directory} was closed by this process")
        self._use.ensure_running(timeout)

    def close(self, *, wait: float = 0.0) -> bool:
        """Give up this use; a second call does nothing. The server stops if nobody else uses it.

        It stops in its own time unless you `wait` (seconds) for it, for example to remove the directory. True
        when no server runs on the directory any more.
        """
        use, self._use = self._use, None
        if use is not None:
            use.release()
        deadline = time.monotonic() + wait
        while (
            stopped := not filelock.held(self.directory / "keeper.lock")
        ) is False and time.monotonic() < deadline:
            time.sleep(0.005)
        return stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Use:
    """This process's hold on one data directory: the shared lock on ``users.lock``, counted."""

    _registry: ClassVar[dict[Path, _Use]] = {}
    _registry_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket_path = socket_path(directory)
        self._count = 0
        self._lock = threading.Lock()
        self._users_lock: int | None = None

    @classmethod
    def of(cls, directory: Path) -> _Use:
        """The process's one use of the directory, counted once more."""
        with cls._registry_lock:
            use = cls._registry.get(directory)
            if use is None:
                use = cls._registry[directory] = cls(directory)
            use._count += 1
            return use

    def release(self) -> None:
        """Count one less; with the last, drop the lock."""
        with self._registry_lock:
            self._count -= 1
            if self._count:
                return
            del self._registry[self.directory]
        with self._lock:
            if self._users_lock is not None:
                # Closed and not unlocked: LOCK_UN would take the lock away from a forked child that shares
                # it.
                os.close(self._users_lock)
                self._users_lock = None

    @classmethod
    def _after_fork_in_child(cls) -> None:
        filelock.fork_lock.release()
        # Another thread of the parent may have held these at the fork.
        cls._registry_lock = threading.Lock()
        for use in cls._registry.values():
            use._lock = threading.Lock()

    def ensure_running(self, timeout: float) -> None:
        began = time.monotonic()
        deadline = began + timeout
        if not self._lock.acquire(timeout=timeout):
            raise self._unavailable(f"is still being started by another thread after {timeout:g} s")
        try:
            self._hold(deadline)
            launched, pause = False, 0.002
            while True:
                # The keeper is looked for before the server is asked: a server without a keeper is on its way
                # out.
                if self._launch_if_there_is_no_keeper(deadline, forbidden=launched):
                    launched = True
                answer = _ask(self.socket_path)
                if answer is _Answer.READY:
                    return
                if answer is _Answer.LOADING:
                    deadline = max(deadline, began + LOAD_TIMEOUT_S)
                if time.monotonic() > deadline:
                    raise self._unavailable(f"does not answer after {time.monotonic() - began:.0f} s")
                time.sleep(pause)
                pause = min(pause * 1.5, 0.05)
        finally:
            self._lock.release()

    def _hold(self, deadline: float) -> None:
        """Take ``users.lock`` shared, unless it is held; waits while the last server stops."""
        path = self.directory / "users.lock"
        if self._users_lock is not None:
            if filelock.is_file_at(self._users_lock, path):
                return
            # The directory was removed, and perhaps made anew, under a running program.
            os.close(self._users_lock)
            self._users_lock = None
        while True:
            with filelock.fork_lock:
                self._users_lock = filelock.try_lock(path, filelock.SHARED)
            if self._users_lock is not None:
                return
            if time.monotonic() > deadline:
                raise self._unavailable("is still stopping")
            time.sleep(0.005)

    def _launch_if_there_is_no_keeper(self, deadline: float, *, forbidden: bool) -> bool:
        """True if a keeper was launched. Where that is `forbidden`, the one launched before has given up."""
        with filelock.fork_lock:
            keeper_lock = filelock.try_lock(self.directory / "keeper.lock", filelock.EXCLUSIVE)
            if keeper_lock is None:
                return False
            try:
                if forbidden:
                    raise self._unavailable("did not start")
                self._launch(keeper_lock, deadline)
            finally:
                os.close(keeper_lock)
        return True

    def _launch(self, keeper_lock: int, deadline: float) -> None:
        """Start a keeper that inherits the lock on ``keeper.lock``: at no moment could another start too."""
        keeper = Path(__file__).with_name("keeper.py")
        command = [
            find_interpreter(), "-I", "-S", str(keeper),
            str(self.directory), str(self.socket_path), str(keeper_lock),
            *server_command(find_binary(), self.directory, self.socket_path),
        ]  # fmt: skip
        try:
            # Returns when the keeper has gone into the background; a session of its own keeps a Ctrl-C away
            # from it.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(keeper_lock,),
                start_new_session=True,
                timeout=max(1.0, deadline - time.monotonic()),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._unavailable("was not taken over from an earlier server in time") from None
        except OSError as error:
            raise self._unavailable(f"cannot be started: {error}") from error
        if done.returncode != 0:
            raise self._unavailable(
                f"cannot be started: {done.stderr.decode(errors='replace').strip()[-2000:]}"
            )

    def _unavailable(self, what: str) -> StoreUnavailable:
        log = log_tail(self.directory)
        parts = [f"the embedded store in {self.directory} {what}."]
        with contextlib.suppress(OSError, ValueError):
            pid, host = (self.directory / "keeper.lock").read_text().split()
            if host != os.uname().nodename:
                parts.append(
                    f"Its keeper ran last as process {pid} on {host}: one host at a time can use a directory."
                )
        parts += [hint(log), f"The end of {self.directory}/server.log:\n{log}" if log else ""]
        return StoreUnavailable(" ".join(part for part in parts if part))


if sys.platform != "win32":
    os.register_at_fork(
        before=filelock.fork_lock.acquire,
        after_in_parent=filelock.fork_lock.release,
        after_in_child=_Use._after_fork_in_child,
    )


def _ask(path: Path) -> _Answer:
    """PING over the socket. Any answer but LOADING means a working server; errors are for its user to see."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1.0)
            link.connect(str(path))
            link.sendall(b"PING\r\n")
            reply = link.recv(64)
    except OSError:
        return _Answer.NONE
    if reply.startswith(b"-LOADING"):
        return _Answer.LOADING
    return _Answer.READY if reply else _Answer.NONE
