"""Fixtures for every test that speaks to a server.

`server` (one Valkey a test process, so one per xdist worker) and `prefix` (key names of one test's own)
together keep tests apart without ever flushing anything.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.server import RedisServer, ServerMissing, server_binary

REQUIRE_REDIS_SERVER = "FERRYMAN_REQUIRE_REDIS_SERVER"


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """A Valkey server that all tests of this process share; never flush it, use `prefix`."""
    with RedisServer("valkey") as running:
        yield running


@pytest.fixture(scope="session")
def redis_server_binary() -> Path:
    """The distribution's `redis-server`; without it the test is skipped, or fails where it is required."""
    try:
        return server_binary("redis")
    except ServerMissing as missing:
        if os.environ.get(REQUIRE_REDIS_SERVER) == "1":
            pytest.fail(f"{missing} (required by {REQUIRE_REDIS_SERVER}=1)")
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_server(redis_server_binary: Path) -> Iterator[RedisServer]:
    """A Redis server of the distribution that all tests of this process share."""
    with RedisServer("redis") as running:
        yield running


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A key prefix of this test alone, readable in a server's MONITOR."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:40].strip("-")
    return f"t-{name}-{secrets.token_hex(4)}"


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    """A raw client of the shared server, bytes in and out, without retries."""
    with server.client() as raw:
        yield raw
