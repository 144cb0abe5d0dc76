"""Certificates for tests, made with the ``openssl`` command, and a server that speaks TLS."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.server import RedisServer, _free_port

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def _openssl(*words: str, cwd: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no `openssl` on PATH")
    subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True)


@dataclass
class Authority:
    """Signs certificates in a folder of its own."""

    directory: Path

    @classmethod
    def new(cls, directory: Path) -> Authority:
        """A new authority that nobody trusts yet."""
        directory.mkdir()
        words = ["req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"]
        _openssl(*words, "-subj", "/CN=a test", cwd=directory)
        return cls(directory)

    @property
    def certificate(self) -> Path:
        """What has to be trusted."""
        return self.directory / "ca.pem"

    def sign(self, name: str, names: str) -> tuple[Path, Path]:
        """A certificate and its key. `names`: ``DNS:...,IP:...``."""
        request = ["req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"]
        _openssl(*request, "-addext", f"subjectAltName={names}", cwd=self.directory)
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy"]
        words = ["x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", "2"]
        _openssl(*words, *signing, cwd=self.directory)
        return self.directory / f"{name}.pem", self.directory / f"{name}.key"


@contextmanager
def tls_server(authority: Authority, *, names: str, clients: str) -> Iterator[tuple[RedisServer, int]]:
    """The distribution's server, and the loopback port where it speaks TLS. `clients`: ``yes`` if they need a
    certificate of this authority, or ``no``.
    """
    certificate, key = authority.sign(f"server-{clients}", names)
    port = _free_port()
    words = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    words += ["--tls-ca-cert-file", str(authority.certificate), "--tls-auth-clients", clients]
    with RedisServer("redis", args=words) as server:
        yield server, port


def tls_url(port: int, login: str = "", **options: Any) -> str:
    """A ``rediss://`` URL with options of redis-py."""
    query = "&".join(f"{name}={quote(str(value))}" for name, value in options.items())
    return f"rediss://{login}localhost:{port}/0?{query}"
