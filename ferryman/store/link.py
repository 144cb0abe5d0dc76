"""One blocking connection that speaks transitions, singly or pipelined: a `Link`. A `Lane` is a link with a
name and a sequence number, which is what makes a repeated enqueue harmless: Redis remembers the last number
of each lane.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Sequence
from typing import Any, TypeVar

import redis.exceptions as rx
from hiredis import pack_command

from ferryman.errors import ConfigurationError, FerrymanError, NotDurable, StoreError, StoreUnavailable
from ferryman.store.address import Address
from ferryman.store.connection import connect, explain
from ferryman.store.durability import Durability
from ferryman.store.scripts import Script
from ferryman.store.transitions import LANE_SEQ, PRODUCER, Transition

R = TypeVar("R")


def packed(transition: Transition[Any], sha: str) -> bytes:
    """The request as it goes over the wire. redis-py's packer takes twice as long as hiredis alone."""
    request: bytes = pack_command(("EVALSHA", sha, len(transition.keys), *transition.keys, *transition.args))
    return request


def cannot_sync(address: Address, why: str) -> ConfigurationError:
    """What to say where durability 'fsync' cannot be had."""
    return ConfigurationError(
        f"durability 'fsync' cannot be had from Redis at {address}: it needs appendonly yes, and WAITAOF "
        f"(Redis 7.2, Valkey 7.2) or appendfsync always. {why}"
    )


def syncs_always(reply: Sequence[bytes], address: Address) -> bool:
    """Whether a server that says this to ``CONFIG GET append*`` answers only after it has written to disk;
    raises `ConfigurationError` if not: this is asked where it is the only way.
    """
    found = dict(zip(reply[::2], reply[1::2], strict=True))
    only, sync = found.get(b"appendonly", b"no").decode(), found.get(b"appendfsync", b"no").decode()
    if (only, sync) == ("yes", "always"):
        return True
    raise cannot_sync(address, f"Its appendonly is {only!r} and its appendfsync {sync!r}")


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def drop_inherited() -> None:
    """In a forked child: close its ends of the parent's connections. They would stay open for as long as the
    child lives, whatever the parent does with its own.
    """
    for link in list(_links):
        if link._connection.pid != os.getpid():  # closes, and says nothing to the server
            with contextlib.suppress(Exception):
                link._connection.disconnect()


class Link:
    """One connection. Not for two threads at once."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._connection = connect(address, timeout_s)
        _links.add(self)
        self._shas: dict[Script, str] = {}
        self._syncs_always: bool | None = None
        self.breaks = 0
        """How often the connection was dropped."""

    def close(self) -> None:
        """Drop the connection; the next call opens a new one. Never raises."""
        self.discard()
        if self.address.kind == "embedded":
            with contextlib.suppress(FerrymanError):  # the next call says what is wrong
                self._connection = connect(self.address, self._timeout_s)

    def discard(self) -> None:
        """Drop the connection for good: as `close`, but an embedded server that has ended stays so."""
        self.breaks += 1
        self._syncs_always = None  # who answers the next time may be set up differently
        with contextlib.suppress(Exception):
            self._connection.disconnect()

    def fileno(self) -> int:
        """The socket, to wait on. Raises `StoreUnavailable` if it is closed."""
        sock = self._connection._sock
        if sock is None:
            raise StoreUnavailable(f"Redis at {self.address}: the connection is closed")
        return int(sock.fileno())

    def command(self, *words: Any) -> Any:
        """Send one plain command and read its reply. Raises a `StoreError`."""
        try:
            self._connection.send_command(*words)
            return self._connection.read_response(disable_decoding=True)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def send(self, *words: Any) -> None:
        """Send one command and leave its reply for `receive`."""
        try:
            self._connection.send_command(*words)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def receive(self) -> Any:
        """The reply to what was sent first."""
        try:
            return self._connection.read_response(disable_decoding=True)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def has_more(self) -> bool:
        """Whether a reply can be received without waiting."""
        try:
            return bool(self._connection.can_read(0))
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def run(self, transition: Transition[R], durability: Durability | None = None) -> R:
        """Carry out one transition, once; with a durability, also wait until it is as safe as that.

        Raises a `StoreError`: with a durability `NotDurable`, when all was carried out but the confirmation
        did not come, and `ConfigurationError`, with nothing done, if this server cannot give it.
        """
        if durability is not None:
            return self._run_durably(transition, durability)
        script = transition.script
        sha = self._shas.get(script) or self._prepare(script)
        connection = self._connection
        try:
            request = pack_command(("EVALSHA", sha, len(transition.keys), *transition.keys, *transition.args))
            connection.send_packed_command((request,), check_health=False)
            reply = connection.read_response(disable_decoding=True)
        except (
            rx.NoScriptError
        ):  # the server restarted, or somebody flushed its scripts; nothing was carried out
            self._load(script)
            return self.run(transition)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        return transition.read(reply)

    # -- durability ----------------------------------------------------------------------------------------

    def _run_durably(self, transition: Transition[R], durability: Durability) -> R:
        """Both requests in one round trip: the wait covers what this connection wrote before it."""
        if self._waits_for_nothing(durability):
            return self.run(transition)
        script = transition.script
        request = packed(transition, self._shas.get(script) or self._prepare(script))
        try:
            self._connection.send_packed_command((request + durability.request,), check_health=False)
            reply, confirmed = self._reply(), self._confirmation(durability)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        if isinstance(reply, rx.NoScriptError):
            self._load(script)
            return self._run_durably(transition, durability)
        if isinstance(reply, rx.RedisError):
            raise explain(reply, self.address) from reply
        found = transition.read(reply)
        self._judge(durability, confirmed)
        return found

    def begin(self, durability: Durability) -> None:
        """Before what `confirm` is to be asked for: raises `ConfigurationError` if it cannot be had here."""
        self._waits_for_nothing(durability)

    def confirm(self, durability: Durability) -> None:
        """Wait until all that this connection wrote is as safe as `durability` asks. Raises as `run`."""
        if self._waits_for_nothing(durability):
            return
        try:
            self._connection.send_packed_command((durability.request,), check_health=False)
            confirmed = self._confirmation(durability)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        self._judge(durability, confirmed)

    def _confirmation(self, durability: Durability) -> Any:
        return self._reply(durability.timeout_s + self._timeout_s)

    def _judge(self, durability: Durability, confirmed: Any) -> None:
        if missing := durability.missing(confirmed):
            raise NotDurable(f"Redis at {self.address} took it, but {missing}")

    def _waits_for_nothing(self, durability: Durability) -> bool:
        """Whether this server's every answer means 'on disk' already. Asked once a connection, before the
        first write, so that a server that cannot give what is asked for is not written to.
        """
        if durability.level != "fsync":
            return False
        if self._syncs_always is None:
            try:
                self.command("WAITAOF", 1, 0, 1)
                self._syncs_always = False
            except StoreUnavailable:
                raise
            except StoreError as error:
                if not error.is_unknown_command:
                    raise cannot_sync(self.address, str(error)) from error
                self._syncs_always = self._syncs_without_waitaof()
        return self._syncs_always

    def _syncs_without_waitaof(self) -> bool:
        try:
            reply = self.command("CONFIG", "GET", "append*")
        except StoreUnavailable:
            raise
        except StoreError as error:
            raise cannot_sync(self.address, "CONFIG GET, which would tell, is refused") from error
        return syncs_always(reply, self.address)

    # -- several at once -------------------------------------------------------------------------------------

    def pipeline(self, transitions: Sequence[Transition[Any]]) -> list[Any]:
        """Carry out several transitions in one round trip, in order; a reply may be a `StoreError`, which is
        returned, not raised.

        Raises `StoreUnavailable` when the connection is lost: then nobody knows which were carried out, and
        the connection is closed, as replies may still be under way.
        """
        try:
            self.post(transitions)
            return self.collect(transitions)
        except BaseException:
            self.close()
            raise

    def collect(self, transitions: Sequence[Transition[Any]]) -> list[Any]:
        """The replies to what was posted. One may be a `StoreError`, which is returned, not raised."""
        try:
            raw = [self._reply() for _ in transitions]
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        replies: list[Any] = []
        for transition, reply in zip(transitions, raw, strict=True):
            try:
                if isinstance(reply, rx.NoScriptError):
                    self._load(transition.script)
                    replies.append(self.run(transition))
                elif isinstance(reply, rx.RedisError):
                    replies.append(explain(reply, self.address))
                else:
                    replies.append(transition.read(reply))
            except StoreUnavailable:
                raise
            except StoreError as error:
                replies.append(error)
        return replies

    def post(self, transitions: Sequence[Transition[Any]]) -> None:
        """Send several transitions, whose replies `collect` reads."""
        try:
            requests = [
                packed(transition, self._shas.get(transition.script) or self._prepare(transition.script))
                for transition in transitions
            ]
            self._connection.send_packed_command((b"".join(requests),), check_health=False)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def _reply(self, timeout_s: float | None = None) -> Any:
        """The next reply; an error that the server answered with is returned."""
        wait: dict[str, Any] = {} if timeout_s is None else {"timeout": timeout_s}
        try:
            return self._connection.read_response(disable_decoding=True, **wait)
        except rx.ConnectionError:
            raise
        except rx.ResponseError as error:
            return error

    def _prepare(self, script: Script) -> str:
        self._load(script)
        return self._shas[script]

    def _load(self, script: Script) -> None:
        """Make the script known to the server: with its flags if the server reads them (Redis 7, Valkey),
        else without.
        """
        try:
            self._connection.send_command("SCRIPT", "LOAD", script.flagged)
            self._connection.read_response()
            self._shas[script] = script.flagged_sha
        except rx.ResponseError as error:
            if isinstance(
                error, rx.NoPermissionError | rx.AuthenticationError | rx.OutOfMemoryError | rx.ReadOnlyError
            ):
                raise explain(error, self.address) from error
            self._load_plain(script)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    def _load_plain(self, script: Script) -> None:
        try:
            self._connection.send_command("SCRIPT", "LOAD", script.plain)
            self._connection.read_response()
            self._shas[script] = script.plain_sha
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error


class Numbering:
    """The name of a lane, and the numbers of its calls. Its calls are serial, so Redis can tell a repeated
    one by its number.
    """

    def __init__(self) -> None:
        self.name = os.urandom(6).hex()
        self._last = 0

    def number(self, transition: Transition[Any]) -> None:
        """Make it this lane's next call. Carried out again, it keeps its number."""
        self._last += 1
        transition.args[LANE_SEQ] = self._last
        transition.keys[PRODUCER] += self.name
        transition.numbered = False


class Lane(Link, Numbering):
    """A link of a producer."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        Link.__init__(self, address, timeout_s)
        Numbering.__init__(self)
