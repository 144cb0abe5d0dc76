"""A proxy between a client and a server that misbehaves on demand: it breaks connections at the worst moment.

    with Proxy(server.unix_url) as proxy:
        app = Ferryman(proxy.url)
        fault = proxy.lose_reply(is_script("enqueue"))     # the server runs it, the client never hears
        task.enqueue(1)                                     # is repeated on a new connection
        assert fault.struck == 1

Requests are understood (RESP arrays), so a fault strikes the n-th command that a predicate picks, and the
reply that is lost is the one to that command. One thread a connection. Not for subscriptions, whose messages
answer no request.

It is also a network that can be cut one way or both, or be slow: `toward_server` and `toward_client` are
gates that everything passes. What waits at a shut gate goes on when it opens again, as TCP would send it
again: also a request whose sender has given up long ago.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Literal, Self

from ferryman.store import scripts

Command = list[bytes]
Predicate = Callable[[Command], bool]
Kind = Literal["refuse", "lose reply", "black hole", "hold", "deliver"]
Moment = Literal["before", "between", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "between", "after")
"""Of a step: before the server has the request, after it was carried out and before the reply, after that."""
_KIND_OF: dict[Moment, Kind] = {"before": "refuse", "between": "lose reply", "after": "deliver"}


def anything(_: Command) -> bool:
    """Picks every command."""
    return True


def is_command(*names: str) -> Predicate:
    """Picks commands by their first word."""
    wanted = {name.upper().encode() for name in names}
    return lambda command: command[0].upper() in wanted


def is_script(name: str) -> Predicate:
    """Picks calls of the script ``lua/<name>.lua``."""
    script = scripts.load(name)
    shas = {script.flagged_sha.encode(), script.plain_sha.encode()}
    return lambda command: command[0].upper() == b"EVALSHA" and command[1] in shas


@dataclass
class Fault:
    """What happens to which command."""

    kind: Kind
    picks: Predicate
    skip: int
    """How many picked commands pass before the first that is struck."""
    times: int
    """How many are struck."""
    struck: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    """Set when the fault strikes: for 'hold', the server has run the command and the reply waits."""
    release: threading.Event = field(default_factory=threading.Event)
    """For 'hold': let the reply go on."""
    do: Callable[[int], object] | None = None
    """Called at the moment of the fault with the id of the process at the other end, before the connection
    breaks.
    """
    done: threading.Event = field(default_factory=threading.Event)
    """Set when `do` has returned and the connection is about to break."""


class Gate:
    """One direction of the network."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = True
        self._gone = False
        self.delay_s = 0.0
        """How long everything takes that passes."""

    def shut(self) -> None:
        """Nothing passes any more."""
        with self._changed:
            self._open = False

    def open(self) -> None:
        """Everything passes again, first of all what waits."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def give_up(self) -> None:
        """Nothing will pass any more: what waits must end."""
        with self._changed:
            self._gone = True
            self._changed.notify_all()

    def pass_through(self) -> None:
        """Wait until it is open. Raises `ConnectionError` when it has been given up."""
        with self._changed:
            if self.delay_s:
                self._changed.wait_for(lambda: self._gone, self.delay_s)
            self._changed.wait_for(lambda: self._open or self._gone)
            if self._gone:
                raise ConnectionError("the proxy is closed")


class Proxy:
    """Listens on a unix socket of its own and passes everything on to the server behind `url`."""

    def __init__(self, url: str) -> None:
        assert url.startswith("unix://"), "give the server's unix_url"
        self._target = url.removeprefix("unix://")
        self._directory = tempfile.mkdtemp(prefix="fm-proxy-", dir="/tmp")
        self._path = os.path.join(self._directory, "s")
        self.url = f"unix://{self._path}"
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._sockets: set[socket.socket] = set()
        self.toward_server = Gate()
        self.toward_client = Gate()
        self.accepted = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    # -- faults ----------------------------------------------------------------------------------------------

    def refuse(self, picks: Predicate = anything, *, skip: int = 0, times: int = 1) -> Fault:
        """Break the connection instead of passing the request on: the server never sees it."""
        return self._add(Fault("refuse", picks, skip, times))

    def lose_reply(self, picks: Predicate = anything, *, skip: int = 0, times: int = 1) -> Fault:
        """Break the connection after the server has run the request, before the client has its reply."""
        return self._add(Fault("lose reply", picks, skip, times))

    def black_hole(self, picks: Predicate = anything, *, skip: int = 0, times: int = 1) -> Fault:
        """Swallow the request and everything after it on that connection, which stays open."""
        return self._add(Fault("black hole", picks, skip, times))

    def hold(self, picks: Predicate = anything, *, skip: int = 0, times: int = 1) -> Fault:
        """Keep the reply back until `release` is set on the fault."""
        return self._add(Fault("hold", picks, skip, times))

    def strike(
        self, moment: Moment, picks: Predicate, do: Callable[[int], object] | None = None, *, skip: int = 0
    ) -> Fault:
        """Break the connection of the process that sends such a command, at that moment of the step, and `do`
        something to the process just before. 'After' is when it sends its next request, or hangs up: it has
        then had the reply and acted on it.
        """
        return self._add(Fault(_KIND_OF[moment], picks, skip, 1, do=do))

    def withdraw(self, fault: Fault) -> None:
        """A fault that is not to strike any more."""
        with self._lock:
            self._faults.remove(fault)

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def break_all(self) -> None:
        """Break every connection that is open now."""
        with self._lock:
            victims = list(self._sockets)
        for victim in victims:
            _end(victim)

    def _strike(self, command: Command) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.struck < fault.times and fault.picks(command):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.struck += 1
                    return fault
        return None

    # -- passing on ------------------------------------------------------------------------------------------

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
            with self._lock:
                self.accepted += 1
                self._sockets |= {client, server}
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """One request, one reply, in turn. A pipeline's further requests wait in the socket."""
        try:
            requests, replies = client.makefile("rb"), server.makefile("rb")
            with requests, replies, contextlib.suppress(OSError):
                while self._pass_one(requests, replies, client, server):
                    pass
        finally:
            with self._lock:
                self._sockets -= {client, server}
            client.close()
            server.close()

    def _pass_one(
        self, requests: BinaryIO, replies: BinaryIO, client: socket.socket, server: socket.socket
    ) -> bool:
        raw, command = _read_request(requests)
        if not raw:
            return False
        fault = self._strike(command)
        if fault is not None and fault.kind == "refuse":
            fault.reached.set()
            return _carried_out(fault, client)
        self.toward_server.pass_through()
        if fault is not None and fault.kind == "black hole":
            fault.reached.set()
            while client.recv(65536):
                pass
            return False
        server.sendall(raw)
        reply = _read_reply(replies)
        if fault is not None:
            fault.reached.set()
            if fault.kind == "lose reply":
                return _carried_out(fault, client)
            if fault.kind == "hold":
                fault.release.wait(30)
        self.toward_client.pass_through()
        client.sendall(reply)
        if fault is not None and fault.kind == "deliver":
            _read_request(requests)
            return _carried_out(fault, client)
        return bool(reply)

    # -- its own life ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Break everything and stop listening."""
        self.toward_server.give_up()
        self.toward_client.give_up()
        _end(self._listener)
        self._listener.close()
        self._thread.join(5)
        self.break_all()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _carried_out(fault: Fault, client: socket.socket) -> Literal[False]:
    """Do what is to be done to the process behind the connection, which then breaks."""
    try:
        if fault.do is not None:
            fault.do(_pid_behind(client))
    finally:
        fault.done.set()
    return False


def _pid_behind(client: socket.socket) -> int:
    """Who opened the connection. Linux tells of unix sockets."""
    pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def _end(victim: socket.socket) -> None:
    with contextlib.suppress(OSError):
        victim.shutdown(socket.SHUT_RDWR)


def _read_request(stream: BinaryIO) -> tuple[bytes, Command]:
    head = stream.readline()
    if not head.startswith(b"*"):
        return b"", []
    pieces, words = [head], []
    for _ in range(int(head[1:])):
        length = stream.readline()
        word = stream.read(int(length[1:]) + 2)
        pieces += [length, word]
        words.append(word[:-2])
    return b"".join(pieces), words


def _read_reply(stream: BinaryIO) -> bytes:
    """One whole RESP2 reply as it came; empty at the end of the stream."""
    head = stream.readline()
    if head[:1] == b"$" and head != b"$-1\r\n":
        return head + stream.read(int(head[1:]) + 2)
    if head[:1] == b"*":
        return head + b"".join(_read_reply(stream) for _ in range(max(int(head[1:]), 0)))
    return head
