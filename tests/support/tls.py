"""Authorities that trust each other or not, and a server with a certificate of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import trustme

from tests.support.server import RedisServer, free_port


class Authority:
    """Signs certificates, which lie in a folder of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._ca = trustme.CA()
        self.certificate = directory / "ca.pem"
        """What has to be trusted."""
        self._ca.cert_pem.write_to_path(self.certificate)

    def sign(self, *names: str) -> tuple[Path, Path]:
        """A certificate for these names, and its key."""
        issued = self._ca.issue_cert(*names)
        certificate, key = (self._directory / f"{names[0]}.{kind}" for kind in ("pem", "key"))
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key


@contextmanager
def tls_server(authority: Authority, *names: str, clients: str = "no") -> Iterator[tuple[RedisServer, int]]:
    """The distribution's server under these names, and the loopback port where it speaks TLS. `clients`:
    ``yes`` if they need a certificate of this authority.
    """
    certificate, key = authority.sign(*names)
    port = free_port()
    words = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    words += ["--tls-ca-cert-file", str(authority.certificate), "--tls-auth-clients", clients]
    with RedisServer("redis", args=words) as server:
        yield server, port


def tls_url(port: int, login: str = "", **options: Any) -> str:
    """A ``rediss://`` URL with options of redis-py."""
    return f"rediss://{login}localhost:{port}/0?{urlencode(options)}"
