"""The stores and the faces that the contract holds for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ferryman import Ferryman
from tests.support.faces import Faces
from tests.support.server import RedisServer


@pytest.fixture(params=["memory", "redis", "valkey"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    name = "redis_server" if request.param == "redis" else "server"
    found: RedisServer = request.getfixturevalue(name)
    return found.unix_url


@pytest.fixture(params=["sync", "async"])
def faces(request: pytest.FixtureRequest) -> Iterator[Faces]:
    with Faces(request.param) as made:
        yield made


def _add(left: int, right: int = 0) -> int:
    return left + right


def _note(text: str) -> None:
    """Keeps no result."""


@pytest.fixture
def app(url: str, prefix: str) -> Iterator[Ferryman]:
    made = Ferryman(url, prefix=prefix, timeout_s=5.0, patience_s=1.0)
    made.queue("stack", order="lifo")
    made.queue("short", order="shortest")
    made.task(name="add", queue="q")(_add)
    made.task(name="note", queue="q")(_note)
    yield made
    made.close()
