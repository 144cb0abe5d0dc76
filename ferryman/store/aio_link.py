"""One asyncio connection that speaks transitions: the other face of `ferryman.store.link`, with no rule of
its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, TypeVar

import redis.asyncio.connection as aio_connection
import redis.connection as sync_connection
import redis.exceptions as rx
from redis.asyncio.retry import Retry as RedisRetry
from redis.backoff import NoBackoff

from ferryman.errors import FerrymanError, NotDurable, StoreError, StoreUnavailable
from ferryman.store import sentinel
from ferryman.store.address import Address
from ferryman.store.connection import explain, options_of
from ferryman.store.durability import Durability
from ferryman.store.link import Numbering, cannot_sync, packed, syncs_always
from ferryman.store.scripts import Script
from ferryman.store.transitions import Transition

R = TypeVar("R")

_KINDS: dict[type, type[aio_connection.AbstractConnection]] = {
    sync_connection.Connection: aio_connection.Connection,
    sync_connection.SSLConnection: aio_connection.SSLConnection,
    sync_connection.UnixDomainSocketConnection: aio_connection.UnixDomainSocketConnection,
}


def _connect(address: Address, timeout_s: float) -> aio_connection.AbstractConnection:
    options = options_of(address, timeout_s)
    kind: Any = _KINDS[options.pop("connection_class", sync_connection.Connection)]
    if address.kind == "sentinel":
        kind = sentinel.following_aio(kind, address, timeout_s)
    connection: aio_connection.AbstractConnection = kind(retry=RedisRetry(NoBackoff(), 0), **options)
    return connection


class AsyncLink:
    """One connection, as `ferryman.store.link.Link`."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.breaks = 0
        self._timeout_s = timeout_s
        self._connection = _connect(address, timeout_s)
        self._shas: dict[Script, str] = {}
        self._syncs_always: bool | None = None

    async def close(self) -> None:
        """Drop the connection; the next call opens a new one. Never raises."""
        await self.discard()
        if self.address.kind == "embedded":
            with contextlib.suppress(FerrymanError):  # the next call says what is wrong
                self._connection = await asyncio.to_thread(_connect, self.address, self._timeout_s)

    async def discard(self) -> None:
        """Drop the connection for good: as `close`, but an embedded server that has ended stays so."""
        self.breaks += 1
        self._syncs_always = None
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)

    async def command(self, *words: Any) -> Any:
        """Send one plain command and read its reply. Raises a `StoreError`."""
        try:
            return await self._call(*words)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error

    async def run(self, transition: Transition[R], durability: Durability | None = None) -> R:
        """As `Link.run`."""
        if durability is not None:
            return await self._run_durably(transition, durability)
        script = transition.script
        try:
            sha = self._shas.get(script) or await self._load(script)
            reply = await self._call("EVALSHA", sha, len(transition.keys), *transition.keys, *transition.args)
        except rx.NoScriptError:
            del self._shas[script]
            return await self.run(transition)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        return transition.read(reply)

    async def _call(self, *words: Any) -> Any:
        await self._connection.send_command(*words)
        return await self._connection.read_response(disable_decoding=True)

    async def _load(self, script: Script) -> str:
        try:
            await self._call("SCRIPT", "LOAD", script.flagged)
            sha = script.flagged_sha
        except rx.ResponseError as error:
            if isinstance(
                error, rx.NoPermissionError | rx.AuthenticationError | rx.OutOfMemoryError | rx.ReadOnlyError
            ):
                raise
            await self._call("SCRIPT", "LOAD", script.plain)
            sha = script.plain_sha
        self._shas[script] = sha
        return sha

    # -- durability ----------------------------------------------------------------------------------------

    async def _run_durably(self, transition: Transition[R], durability: Durability) -> R:
        if await self._waits_for_nothing(durability):
            return await self.run(transition)
        script = transition.script
        try:
            request = packed(transition, self._shas.get(script) or await self._load(script))
            await self._connection.send_packed_command(request + durability.request)
            reply, confirmed = await self._reply(), await self._confirmation(durability)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        if isinstance(reply, rx.NoScriptError):
            del self._shas[script]
            return await self._run_durably(transition, durability)
        if isinstance(reply, rx.RedisError):
            raise explain(reply, self.address) from reply
        found = transition.read(reply)
        self._judge(durability, confirmed)
        return found

    async def begin(self, durability: Durability) -> None:
        """As `Link.begin`."""
        await self._waits_for_nothing(durability)

    async def confirm(self, durability: Durability) -> None:
        """As `Link.confirm`."""
        if await self._waits_for_nothing(durability):
            return
        try:
            await self._connection.send_packed_command(durability.request)
            confirmed = await self._confirmation(durability)
        except (rx.RedisError, OSError) as error:
            raise explain(error, self.address) from error
        self._judge(durability, confirmed)

    async def _confirmation(self, durability: Durability) -> Any:
        return await self._reply(durability.timeout_s + self._timeout_s)

    async def _reply(self, timeout_s: float | None = None) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True, timeout=timeout_s)
        except rx.ConnectionError:
            raise
        except rx.ResponseError as error:
            return error

    def _judge(self, durability: Durability, confirmed: Any) -> None:
        if missing := durability.missing(confirmed):
            raise NotDurable(f"Redis at {self.address} took it, but {missing}")

    async def _waits_for_nothing(self, durability: Durability) -> bool:
        if durability.level != "fsync":
            return False
        if self._syncs_always is None:
            try:
                await self.command("WAITAOF", 1, 0, 1)
                self._syncs_always = False
            except StoreUnavailable:
                raise
            except StoreError as error:
                if not error.is_unknown_command:
                    raise cannot_sync(self.address, str(error)) from error
                self._syncs_always = await self._syncs_without_waitaof()
        return self._syncs_always

    async def _syncs_without_waitaof(self) -> bool:
        try:
            reply = await self.command("CONFIG", "GET", "append*")
        except StoreUnavailable:
            raise
        except StoreError as error:
            raise cannot_sync(self.address, "CONFIG GET, which would tell, is refused") from error
        return syncs_always(reply, self.address)


class AsyncLane(AsyncLink, Numbering):
    """One connection with a name and a sequence number, as `ferryman.store.link.Lane`."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        AsyncLink.__init__(self, address, timeout_s)
        Numbering.__init__(self)
