"""Stages for the chaos tests, and the figures that they saw, printed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.arena import faketime_library
from tests.chaos.scene import Scene
from tests.support.server import RedisServer

FIGURE = "figure"
REQUIRE_FAKETIME = "FERRYMAN_REQUIRE_FAKETIME"


@pytest.fixture
def scene(server: RedisServer, prefix: str, tmp_path: Path) -> Iterator[Scene]:
    """A stage on the shared server."""
    made = Scene(server.url, prefix, tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server of this test alone, to restart or to fill: every acknowledged write is on the disk."""
    with RedisServer("valkey", aof=True, args=["--appendfsync", "always"]) as server:
        yield server


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests measured."""
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {value}"
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == FIGURE
    ]
    if lines:
        terminalreporter.section("figures seen")
        for line in sorted(lines):
            terminalreporter.line(line)


@pytest.fixture
def faketime() -> None:
    """libfaketime; without it the test is skipped, or fails where it is required."""
    if faketime_library() is None:
        missing = "no libfaketime; on Debian: apt-get install faketime"
        if os.environ.get(REQUIRE_FAKETIME) == "1":
            pytest.fail(f"{missing} (required by {REQUIRE_FAKETIME}=1)")
        pytest.skip(missing)
