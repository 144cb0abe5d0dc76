"""Waiting for a condition, with a deadline: what tests use instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    timeout: float = 5.0,
    message: str | Callable[[], str] = "",
    *,
    ignoring: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """Return the condition's first true value; after `timeout` seconds raise `AssertionError`.

    A condition that raises one of `ignoring` counts as not met yet; its last error is the cause of the
    failure. The condition is asked at least once after the deadline's last pause, so a slow machine fails no
    test by one tick.
    """
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        expired = time.monotonic() >= deadline
        error: Exception | None = None
        try:
            value = condition()
        except ignoring as caught:
            error = caught
        else:
            if value:
                return value
        if expired:
            text = message() if callable(message) else message
            raise AssertionError(f"not met within {timeout:g} s: {text or condition}") from error
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
