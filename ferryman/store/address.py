"""From a store URL to an address: which server, sentinels or cluster, and with which credentials. Secrets are
masked wherever an address is shown.
"""

from __future__ import annotations

import inspect
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import redis.connection as sync_connection

from ferryman.errors import ConfigurationError
from ferryman.store.slots import SlotMap

if TYPE_CHECKING:
    from ferryman.store.embedded import EmbeddedServer

Node = tuple[str, int]
Kind = Literal["memory", "embedded", "server", "sentinel", "cluster"]
SCHEMES = (
    "memory", "embedded", "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster",
    "rediss+cluster",
)  # fmt: skip
_PORTS = {"sentinel": 26379, "cluster": 6379}
_SENTINEL_OPTIONS = ("username", "password", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")


@dataclass(eq=False)
class Address:
    """Where jobs are kept."""

    url: str = field(repr=False)
    kind: Kind
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    """Keyword arguments for redis-py's connection."""
    directory: Path | None = None
    """Data directory of an embedded server."""
    nodes: tuple[Node, ...] = ()
    """The sentinels, or the cluster's nodes that are asked first."""
    service: str = ""
    """What the sentinels call the primary."""
    sentinel_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """Keyword arguments for redis-py's connections to sentinels."""
    slots: SlotMap = field(default_factory=SlotMap, repr=False)
    """Which node of a cluster serves which slot, as far as it is known."""

    _server: EmbeddedServer | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __str__(self) -> str:
        return mask(self.url)

    def node(self, node: Node) -> Address:
        """The address of one node of this cluster."""
        host, port = node
        scheme = "rediss" if self.url.startswith("rediss") else "redis"
        shown = f"[{host}]" if ":" in host else host
        options = {**self.options, "host": host, "port": port}
        return Address(f"{scheme}://{shown}:{port}", "server", options)

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
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigurationError(f"store URL {mask(url)!r} is none of {known}")
    if "+" in scheme:
        return _parse_several(url, scheme)
    options = _options(url, url)
    if scheme == "unix" and not options.get("path"):
        raise ConfigurationError("a unix:// URL needs the socket's path, as in unix:///run/redis.sock?db=0")
    _check_options(options, url)
    return Address(url, "server", options)


def _parse_several(url: str, scheme: str) -> Address:
    """``redis+sentinel://user:password@host:port,host:port/service/db?option=value`` and
    ``redis+cluster://user:password@host:port,host:port?option=value``.
    """
    plain, _, kind = scheme.partition("+")
    rest, mark, query = url.partition("://")[2].partition("?")
    login, at, place = rest.rpartition("@")
    hosts, _, path = place.partition("/")
    nodes = tuple(_node(host, _PORTS[kind], url) for host in hosts.split(",") if host)
    if not nodes:
        raise ConfigurationError(f"store URL {mask(url)!r} names no host")
    # What stands around the hosts is read by redis-py, as in any other URL.
    options = _options(f"{plain}://{login}{at}host{mark}{query}", url)
    options.pop("host", None)
    if kind == "cluster":
        if path.strip("/") or options.get("db"):
            raise ConfigurationError(f"store URL {mask(url)!r}: a cluster has one database and no other")
        options.pop("db", None)
        _check_options(options, url)
        return Address(url, "cluster", options, nodes=nodes)
    service, _, database = path.partition("/")
    if not service:
        raise ConfigurationError(
            f"store URL {mask(url)!r} needs the primary's name after the sentinels, as in "
            f"{scheme}://sentinel-1:26379,sentinel-2:26379/mymaster/0"
        )
    if database:
        if not database.isdecimal():
            raise ConfigurationError(f"store URL {mask(url)!r}: database {database!r} must be a number")
        options["db"] = int(database)
    sentinel_options = {
        name: options.pop(f"sentinel_{name}") for name in _SENTINEL_OPTIONS if f"sentinel_{name}" in options
    }
    if plain == "rediss":  # one authority and one client certificate for both, unless said otherwise
        sentinel_options = {
            **{name: options[name] for name in options if name.startswith("ssl_")},
            **sentinel_options,
            "ssl": True,
        }
    _check_options(options, url)
    return Address(url, "sentinel", options, nodes=nodes, service=service, sentinel_options=sentinel_options)


def _node(text: str, default_port: int, url: str) -> Node:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), default_port
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"store URL {mask(url)!r}: {text!r} should read like host:port")
    return host.strip("[]"), int(port)


def _options(url: str, shown: str) -> dict[str, Any]:
    try:
        return dict(sync_connection.parse_url(url))
    except (ValueError, TypeError) as error:
        # With a login in the URL the reason may quote a piece of the password.
        reason = (
            "is some character of the user or password not percent-encoded?" if "@" in url else str(error)
        )
        raise ConfigurationError(f"store URL {mask(shown)!r} cannot be read: {reason}") from None


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
