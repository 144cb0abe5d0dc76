"""From an address to connections, and one way to name what went wrong on them.

The connections are redis-py's, used below its client: the client's own retries would send a fetch again whose
reply was lost (redis-py repeats every command ten times by default) and cost more Python a call than the rest
of an enqueue.
"""

from __future__ import annotations

from typing import Any

import redis.connection as sync_connection
import redis.exceptions as rx
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry

from ferryman.errors import (
    StoreCorrupt,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from ferryman.store import sentinel, tls
from ferryman.store.address import Address
from ferryman.store.slots import Node

_READ_SIZE = 256 * 1024  # a batch of 500 small jobs in one read


class Redirected(StoreUnavailable):
    """A node of a cluster does not serve this slot, and says who does. Nothing was carried out."""

    def __init__(self, message: str, node: Node, *, asking: bool) -> None:
        super().__init__(message)
        self.node = node
        self.asking = asking
        """This once only: the slot is on its way there."""


def options_of(address: Address, timeout_s: float) -> dict[str, Any]:
    """redis-py's keyword arguments, with every wait bounded and no retry behind our back."""
    found = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_read_size": _READ_SIZE,
        **address.options,
        "retry_on_error": [],
        "protocol": 2,
        "decode_responses": False,
    }
    if address.kind == "embedded":
        found["path"] = str(address.running_server().socket_path)
        found["connection_class"] = sync_connection.UnixDomainSocketConnection
    return found


def connect(address: Address, timeout_s: float) -> sync_connection.AbstractConnection:
    """A new connection, not yet opened."""
    options = options_of(address, timeout_s)
    kind = options.pop("connection_class", sync_connection.Connection)
    if address.kind == "sentinel":
        kind = sentinel.following(kind, address, timeout_s)
    connection: sync_connection.AbstractConnection = kind(retry=RedisRetry(NoBackoff(), 0), **options)
    return connection


_PASSING = (
    rx.ConnectionError,
    rx.TimeoutError,
    rx.ReadOnlyError,
    rx.ClusterDownError,
    rx.MasterDownError,
    OSError,
)
_PASSING_WORDS = (
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "BUSY ",
    "UNBLOCKED",
    "during rehashing of slot",  # what redis-py leaves of TRYAGAIN
    "non local key",  # a script met a key of a slot that is on its way to another node
)


def explain(error: Exception, address: Address) -> StoreError:
    """One of our errors for one of redis-py's: what happened, where, and what to do."""
    if type(error) is rx.ConnectionError and isinstance(error.__cause__, rx.RedisError):
        error = error.__cause__  # the asyncio face wraps what it met in the handshake: a wrong password
    text = str(error)
    where = f"Redis at {address}"
    if isinstance(error, rx.AskError):  # MOVED is one of its kind
        asking = not isinstance(error, rx.MovedError)
        return Redirected(f"{where} sends us elsewhere: {text}", error.node_addr, asking=asking)
    if isinstance(error, rx.AuthenticationError | rx.AuthorizationError | rx.NoPermissionError) or _starts(
        text,
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
        "invalid username-password",
        "ACL failure in script",
        "The user executing the script can't",
    ):
        return StoreDenied(
            f"{where} refused the login or the command: {text}. "
            "Check the URL's user and password and the user's ACL."
        )
    untrusted = tls.refusal(text, where)
    if untrusted is not None:
        return untrusted
    if isinstance(error, rx.OutOfMemoryError) or "OOM command not allowed" in text:
        return StoreFull(
            f"{where} is at its memory limit and takes no new jobs (policy noeviction). "
            "Workers go on and free memory; raise maxmemory or drain the queues."
        )
    if "WRONGTYPE" in text:
        return StoreCorrupt(
            f"{where} holds something at one of Ferryman's keys that Ferryman did not put there: {text}"
        )
    if isinstance(error, _PASSING) or any(word in text for word in _PASSING_WORDS):
        # At its limit of clients a server says so and hangs up at once: our write often fails before we read.
        hint = " (it hung up: does it restart, or is it at maxclients?)" if _hung_up(text) else ""
        return StoreUnavailable(f"{where} cannot be used at the moment: {text}{hint}")
    if "unknown command" in text.lower() or "unknown redis command" in text.lower():
        unknown = StoreError(
            f"{where} is too old or not a Redis: {text}. Ferryman needs Redis 6.2 or Valkey 7.2 and later."
        )
        unknown.is_unknown_command = True
        return unknown
    return StoreError(f"{where} answered with an error: {text}")


def _hung_up(text: str) -> bool:
    return any(words in text for words in ("Broken pipe", "reset by peer", "closed by server"))


def _starts(text: str, *words: str) -> bool:
    return any(text.startswith(word) for word in words)
