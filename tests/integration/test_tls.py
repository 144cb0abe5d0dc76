"""``rediss://`` against a server that speaks TLS: what is right works, what is wrong says why at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman import Ferryman, StoreDenied, StoreError, StoreUnavailable, doctor
from ferryman.cli import workers as cli_workers
from ferryman.worker import exitcodes
from tests.integration.worker_jobs import tasks_on
from tests.support import acl
from tests.support.fleet import Fleet
from tests.support.server import RedisServer
from tests.support.tls import Authority, tls_server, tls_url

MODULE = "tests.integration.worker_jobs:app"
HERE = ("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, redis_server_binary: Path) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "trusted")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that has signed nothing that is in use."""
    return Authority(tmp_path_factory.mktemp("tls") / "stranger")


@pytest.fixture(scope="module")
def open_port(authority: Authority) -> Iterator[int]:
    """Asks its clients for no certificate."""
    with tls_server(authority, *HERE) as (_, port):
        yield port


@pytest.fixture(scope="module")
def strict(authority: Authority) -> Iterator[tuple[RedisServer, int]]:
    """Asks for one."""
    with tls_server(authority, *HERE, clients="yes") as found:
        yield found


def enqueue(url: str, prefix: str, face: str, **settings: Any) -> int:
    """Hand over a job by one of the faces; how many wait then."""
    app = Ferryman(url, prefix=prefix, **{"patience_s": 20.0, "timeout_s": 5.0, **settings})
    try:
        if face == "sync":
            app.queue("q").enqueue("x:y")
        else:
            asyncio.run(_aenqueue(app))
        return app.queue("q").info().queued
    finally:
        app.close()


async def _aenqueue(app: Ferryman) -> None:
    try:
        await app.queue("q").aenqueue("x:y")
    finally:
        await app.aclose()


FACES = pytest.mark.parametrize("face", ["sync", "async"])


@FACES
def test_jobs_travel_over_tls(face: str, open_port: int, authority: Authority, prefix: str) -> None:
    assert enqueue(tls_url(open_port, ssl_ca_certs=authority.certificate), prefix, face) == 1


@FACES
def test_a_server_of_another_authority_is_refused_at_once_and_the_error_says_so(
    face: str, open_port: int, stranger: Authority, prefix: str
) -> None:
    began = time.monotonic()
    for url in (tls_url(open_port, ssl_ca_certs=stranger.certificate), tls_url(open_port)):
        with pytest.raises(StoreDenied, match=r"certificate.*ssl_ca_certs"):
            enqueue(url, prefix, face)
    assert time.monotonic() - began < 15, "patience (20 s) does not help here"


@FACES
def test_a_certificate_for_another_host_is_refused_unless_names_are_not_compared(
    face: str, authority: Authority, prefix: str
) -> None:
    with tls_server(authority, "elsewhere.example") as (_, port):
        with pytest.raises(StoreDenied, match="certificate"):
            enqueue(tls_url(port, ssl_ca_certs=authority.certificate), prefix, face)
        url = tls_url(port, ssl_ca_certs=authority.certificate, ssl_check_hostname=False)
        assert enqueue(url, prefix, face) == 1


@FACES
def test_a_server_that_asks_for_a_certificate_gets_one_or_says_that_it_is_missing(
    face: str, strict: tuple[RedisServer, int], authority: Authority, stranger: Authority, prefix: str
) -> None:
    _, port = strict
    trusted: dict[str, Any] = {"ssl_ca_certs": authority.certificate}
    certificate, key = authority.sign(f"client-{face}.test")
    assert enqueue(tls_url(port, **trusted, ssl_certfile=certificate, ssl_keyfile=key), prefix, face) == 1
    # Which alert comes, and whether before the connection breaks, is up to the two TLS libraries.
    with pytest.raises((StoreDenied, StoreUnavailable)):
        enqueue(tls_url(port, **trusted), prefix, face, patience_s=0.0)
    certificate, key = stranger.sign(f"client-{face}.test")
    with pytest.raises((StoreDenied, StoreUnavailable)):
        enqueue(
            tls_url(port, **trusted, ssl_certfile=certificate, ssl_keyfile=key), prefix, face, patience_s=0.0
        )


@FACES
def test_plain_words_to_a_tls_port_and_tls_to_a_plain_one_are_errors_within_the_timeout(
    face: str, open_port: int, redis_server_binary: Path, prefix: str
) -> None:
    with pytest.raises(StoreUnavailable):
        enqueue(f"redis://localhost:{open_port}", prefix, face, patience_s=0.0, timeout_s=2.0)
    with RedisServer("redis", tcp=True) as plain, pytest.raises(StoreError):
        enqueue(tls_url(plain.port or 0), prefix, face, patience_s=0.0, timeout_s=2.0)


def test_a_fleet_works_over_tls_with_a_certificate_and_a_user_of_its_own(
    strict: tuple[RedisServer, int], authority: Authority, stranger: Authority, prefix: str
) -> None:
    server, port = strict
    certificate, key = authority.sign("fleet.test")
    options: dict[str, Any] = {
        "ssl_ca_certs": authority.certificate,
        "ssl_certfile": certificate,
        "ssl_keyfile": key,
    }
    with server.client() as admin:
        for role in ("worker", "producer"):
            acl.set_user(admin, role, acl.rules(role, prefix))
    producer = Ferryman(tls_url(port, f"producer:{acl.password('producer')}@", **options), prefix=prefix)
    tasks = tasks_on(producer)
    looking = Ferryman(server.unix_url, prefix=prefix)
    environment = {"FERRYMAN_TEST_FLEET": "1"}
    with Fleet(
        tls_url(port, f"worker:{acl.password('worker')}@", **options), prefix, MODULE, environment=environment
    ) as fleet:
        fleet.wait_ready(lambda: len(cli_workers.fleet(looking)) == 1)
        jobs = [*tasks.nap.enqueue_many([(0,)] * 20), tasks.anap.enqueue(0)]
        assert len({job.result(40) for job in jobs}) == 1
        assert fleet.terminate() == 0, fleet.output()
    options["ssl_ca_certs"] = stranger.certificate
    with Fleet(tls_url(port, **options), prefix, MODULE, environment=environment) as fleet:
        assert fleet.end() == exitcodes.STORE_REFUSED
        assert "certificate" in fleet.output()
    with Fleet(
        tls_url(port, "worker:wrong@", **{**options, "ssl_ca_certs": authority.certificate}), prefix, MODULE,
        environment=environment,
    ) as fleet:  # fmt: skip
        assert fleet.end() == exitcodes.STORE_REFUSED
        assert "wrong@" not in fleet.output()
    producer.close()
    looking.close()


def test_the_doctor_names_a_certificate_that_is_not_trusted(open_port: int, prefix: str) -> None:
    report = doctor.examine(Ferryman(tls_url(open_port), prefix=prefix, patience_s=0.0))
    (finding,) = report.findings
    assert (finding.status, "certificate" in finding.what) == ("error", True)
