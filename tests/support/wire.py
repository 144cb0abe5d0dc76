"""A wire between client and server that knows nothing of what it carries, so that subscriptions and blocking
calls go through it too: it can fall silent without breaking, grow slow, and counts who holds it.

    with Wire(server.unix_url) as wire:
        app = Ferryman(wire.url)
        wire.freeze()        # every connection of now stays open and carries nothing more, either way
        wire.lag_s = 0.2     # what the server says arrives so much later
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from types import TracebackType
from typing import Self


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.frozen = threading.Event()


class Wire:
    """Listens on a unix socket of its own."""

    def __init__(self, url: str) -> None:
        assert url.startswith("unix://"), "give the server's unix_url"
        self._target = url.removeprefix("unix://")
        self._directory = tempfile.mkdtemp(prefix="fm-wire-", dir="/tmp")
        path = os.path.join(self._directory, "s")
        self.url = f"unix://{path}"
        self.lag_s = 0.0
        self.accepted = 0
        self.peak = 0
        """The most connections that were open at one time."""
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(512)
        self._thread = threading.Thread(target=self._accept, name="wire", daemon=True)
        self._thread.start()

    def freeze(self) -> int:
        """Let every connection of now fall silent; how many there are. New ones work."""
        with self._lock:
            for connection in self._open:
                connection.frozen.set()
            return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                server.close()
                continue
            connection = _Connection(client, server)
            with self._lock:
                self.accepted += 1
                self._open.add(connection)
                self.peak = max(self.peak, len(self._open))
            for source, sink, lags in ((client, server, False), (server, client, True)):
                words = (connection, source, sink, lags)
                threading.Thread(target=self._carry, args=words, name="wire", daemon=True).start()

    def _carry(self, connection: _Connection, source: socket.socket, sink: socket.socket, lags: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if lags and self.lag_s:
                    self._closing.wait(self.lag_s)
                if not connection.frozen.is_set():
                    sink.sendall(data)
        with self._lock:
            self._open.discard(connection)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Break everything and stop listening."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        with self._lock:
            victims = list(self._open)
        for connection in victims:
            for end in (connection.client, connection.server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
