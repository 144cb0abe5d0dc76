"""From a store URL to connections: parsing, masking of secrets, and one way to name what went wrong.

The connections are redis-py's, used below its client: the client's own retries would send a fetch again whose
reply was lost (redis-py repeats every command ten times by default) and cost more Python a call than the rest
of an enqueue.
"""

from __future__ import annotations

import inspect
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis.connection as sync_connection
import redis.exceptions as rx
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry

from ferryman.errors import (
    ConfigurationError,
    StoreCorrupt,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from ferryman.store.embedded import EmbeddedServer

SCHEMES = ("memory", "embedded", "redis", "rediss", "unix")
_READ_SIZE = 256 * 1024  # a batch of 500 small jobs in one read


@dataclass(eq=False)
class Address:
    """Where jobs are kept."""

    url: str = field(repr=False)
    kind: str
    """``memory``, ``embedded`` or ``server``."""
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    """Keyword arguments for redis-py's connection."""
    directory: Path | None = None
    """Data directory of an embedded server."""

    _server: EmbeddedServer | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __str__(self) -> str:
        return mask(self.url)

    def running_server(self) -> EmbeddedServer:
        """The embedded server of this address: started if nobody has, and started again if it was killed."""
        from ferryman.store import embedded

        with self._lock:
            if self._server is None:
                self._server = embedded.EmbeddedServer.start(self.directory or embedded.parse(self.url))
            else:
                self._server.ensure_running()
            return self._server

    def release(self) -> None:
        """End this process's use of an embedded server, which stops after its last user."""
        with self._lock:
            if self._server is not None:
                self._server.close()
                self._server = None


def mask(url: str) -> str:
    """The URL without its password or query, fit for logs; also one whose password holds a raw ``/``, ``?``
    or ``#``, which no parser reads as its author meant it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    login, at, place = rest.rpartition("@")
    if at and "?" in login and "@" not in login:
        return f"{scheme}://***"  # a password with a '?' or an '@' in the query: nobody can tell
    place = place.partition("?")[0].partition("#")[0]
    if not at:
        return f"{scheme}://{place}"
    user, colon, _ = login.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}@{place}"


def parse(url: str) -> Address:
    """The address that `url` names. Raises `ConfigurationError`, without the URL's secrets in the message."""
    scheme = url.split(":", 1)[0].lower() if "://" in url else ""
    if scheme == "memory":
        return Address(url, "memory")
    if scheme == "embedded":
        from ferryman.store import embedded

        return Address(url, "embedded", directory=embedded.parse(url))
    if scheme in ("redis+sentinel", "redis+cluster"):
        raise ConfigurationError(
            f"{scheme}:// is not supported yet: use the address of the current master, redis://host:port/db"
        )
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigurationError(f"store URL {mask(url)!r} is none of {known}")
    try:
        options = dict(sync_connection.parse_url(url))
    except (ValueError, TypeError) as error:
        # With a login in the URL the reason may quote a piece of the password.
        reason = (
            "is some character of the user or password not percent-encoded?" if "@" in url else str(error)
        )
        raise ConfigurationError(f"store URL {mask(url)!r} cannot be read: {reason}") from None
    if scheme == "unix" and not options.get("path"):
        raise ConfigurationError("a unix:// URL needs the socket's path, as in unix:///run/redis.sock?db=0")
    _check_options(options, url)
    return Address(url, "server", options)


def _check_options(options: dict[str, Any], url: str) -> None:
    kind = options.get("connection_class", sync_connection.Connection)
    known = {
        name
        for cls in kind.__mro__
        if "__init__" in vars(cls)
        for name in inspect.signature(cls.__init__).parameters
    }
    for name in options:
        if name not in known and name != "connection_class":
            raise ConfigurationError(
                f"store URL {mask(url)!r} has an option that redis-py does not know: {name!r}"
            )


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
)


def explain(error: Exception, address: Address) -> StoreError:
    """One of our errors for one of redis-py's: what happened, where, and what to do."""
    if type(error) is rx.ConnectionError and isinstance(error.__cause__, rx.RedisError):
        error = error.__cause__  # the asyncio face wraps what it met in the handshake: a wrong password
    text = str(error)
    where = f"Redis at {address}"
    if isinstance(error, rx.AuthenticationError | rx.AuthorizationError | rx.NoPermissionError) or _starts(
        text, "NOAUTH", "WRONGPASS", "NOPERM", "invalid username-password"
    ):
        return StoreDenied(
            f"{where} refused the login or the command: {text}. "
            "Check the URL's user and password and the user's ACL."
        )
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
        return StoreUnavailable(f"{where} cannot be used at the moment: {text}")
    if "unknown command" in text.lower() or "unknown redis command" in text.lower():
        return StoreError(
            f"{where} is too old or not a Redis: {text}. Ferryman needs Redis 6.2 or Valkey 7.2 and later."
        )
    return StoreError(f"{where} answered with an error: {text}")


def _starts(text: str, *words: str) -> bool:
    return any(text.startswith(word) for word in words)
