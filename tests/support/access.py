"""Who may enter a test's servers, and how: passwords, ACL users, TLS with certificates made for the test.

    access = Access(password="sesame", users={"producer": "on >secret ~app:* +@all"}, tls=Certificates(path))
    with RedisServer("redis", tcp=True, access=access) as server: ...      # rediss://:sesame@127.0.0.1:...

The wheel's Valkey is built without TLS; Debian's `redis-server` (`kind="redis"`) has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urlencode


class Certificates:
    """An authority of its own, a server's certificate for 127.0.0.1 and localhost, and one for clients."""

    def __init__(self, directory: Path, *, clients_too: bool = False) -> None:
        import trustme

        self.clients_too = clients_too
        """Whether servers refuse clients that show no certificate of this authority."""
        self.authority = directory / "ca.pem"
        self.server, self.server_key = directory / "server.pem", directory / "server.key"
        self.client, self.client_key = directory / "client.pem", directory / "client.key"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        for names, certificate, key in (
            (("127.0.0.1", "localhost"), self.server, self.server_key),
            (("client.test",), self.client, self.client_key),
        ):
            issued = authority.issue_cert(*names)
            issued.private_key_pem.write_to_path(key)
            for blob in issued.cert_chain_pems:
                blob.write_to_path(certificate, append=True)

    def options(self) -> list[str]:
        """What a server is started with, besides its port."""
        return [
            "--tls-cert-file", str(self.server), "--tls-key-file", str(self.server_key),
            "--tls-ca-cert-file", str(self.authority),
            "--tls-auth-clients", "yes" if self.clients_too else "no",
            "--tls-replication", "yes", "--tls-cluster", "yes",
        ]  # fmt: skip

    @cached_property
    def query(self) -> dict[str, str]:
        """What a client's URL needs to trust the server, and to be trusted."""
        found = {"ssl_ca_certs": str(self.authority)}
        if self.clients_too:
            found |= {"ssl_certfile": str(self.client), "ssl_keyfile": str(self.client_key)}
        return found


@dataclass(frozen=True)
class Access:
    """How one enters; by default everybody may, in the clear."""

    password: str = ""
    """Of the user `default`, whom replicas and sentinels go by as well."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Further users: name -> ACL rules, as in ``on >secret ~app:* +@all``."""
    tls: Certificates | None = None

    def options(self) -> list[str]:
        """What a data server is started with."""
        found = ["--requirepass", self.password, "--masterauth", self.password] if self.password else []
        for name, rules in self.users.items():
            found += ["--user", name, *rules.split()]
        return found + (self.tls.options() if self.tls else [])

    def ports(self, port: int) -> list[str]:
        """The option that opens `port` for clients."""
        return ["--port", "0", "--tls-port", str(port)] if self.tls and port else ["--port", str(port)]

    @property
    def login(self) -> str:
        """The default user's part of a URL, with its ``@``; empty where everybody may."""
        return self.login_of("", self.password) if self.password else ""

    @staticmethod
    def login_of(user: str, password: str) -> str:
        """A user's part of a URL, with its ``@``."""
        return f"{quote(user, safe='')}:{quote(password, safe='')}@"

    @property
    def query(self) -> str:
        """The part of a URL behind the ``?``, with it; empty without TLS."""
        return f"?{urlencode(self.tls.query)}" if self.tls else ""


OPEN = Access()
