"""What holds for every test. Fixtures live in `tests/support`, next to what they give."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

pytest_plugins = ["tests.support.fixtures"]

FORBID_SKIPS = "FERRYMAN_FORBID_SKIPS"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: there, whatever a test needs has been installed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(FORBID_SKIPS) == "1":
        reason: Any = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and {FORBID_SKIPS}=1: {reason}"
    return report
