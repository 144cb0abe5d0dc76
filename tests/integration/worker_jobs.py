"""The app that worker processes of the tests run: each task does one thing to its process.

A test makes the same app for itself with `tasks_on`; a worker process takes URL, prefix and settings from the
environment.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

from ferryman import Ferryman, Retry, current_job


def nap(seconds: float) -> int:
    """Sleep; gives the process that did."""
    time.sleep(seconds)
    return os.getpid()


async def anap(seconds: float) -> int:
    """Sleep on the event loop."""
    await asyncio.sleep(seconds)
    return os.getpid()


def segfault() -> None:
    """End the process as a faulty C extension would."""
    ctypes.string_at(0)


def hold_the_gil() -> None:
    """Sleep in C without letting any other thread run."""
    ctypes.PyDLL(None).sleep(60)


def hold_the_gil_for(seconds: int) -> None:
    """Sleep in C without letting any other thread run."""
    ctypes.PyDLL(None).sleep(seconds)


async def block_the_loop_for(seconds: int) -> None:
    """Sleep in a coroutine as one never should."""
    time.sleep(seconds)  # noqa: ASYNC251


def blocked() -> None:
    """Sleep in C, letting others run."""
    time.sleep(60)


async def block_the_loop() -> None:
    """Sleep in a coroutine as one never should."""
    time.sleep(60)  # noqa: ASYNC251


def mark(path: str) -> int:
    """Append a line; gives the attempt's number."""
    with open(path, "a", encoding="utf-8") as lines:
        lines.write(f"{os.getpid()}\n")
    return current_job().attempt


def mark_and_nap(path: str, seconds: float) -> int:
    """Append a line and sleep."""
    mark(path)
    time.sleep(seconds)
    return current_job().attempt


async def mark_and_anap(path: str, seconds: float) -> int:
    """As `mark_and_nap`, on the event loop."""
    mark(path)
    await asyncio.sleep(seconds)
    return current_job().attempt


async def mark_and_block_the_loop(path: str, seconds: float) -> None:
    """Append a line and sleep as no coroutine should."""
    mark(path)
    time.sleep(seconds)  # noqa: ASYNC251


def grow(megabytes: int) -> int:
    """Allocate, for ever."""
    kept.append(b"x" * (megabytes * 1024 * 1024))
    return os.getpid()


kept: list[Any] = []


def tasks_on(app: Ferryman) -> SimpleNamespace:
    """Register the tasks with an app."""

    def task(fn: Any, **options: Any) -> Any:
        return app.task(name=f"fleet:{fn.__name__}", **options)(fn)

    return SimpleNamespace(
        nap=task(nap, result_ttl=60),
        anap=task(anap, result_ttl=60),
        segfault=task(segfault),
        hold_the_gil=task(hold_the_gil, timeout=0.3, retry=None),
        hold_the_gil_for=task(hold_the_gil_for, retry=None),
        block_the_loop_for=task(block_the_loop_for, retry=None),
        blocked=task(blocked, timeout=0.3, retry=None),
        block_the_loop=task(block_the_loop, timeout=0.3, retry=None),
        mark=task(mark, result_ttl=60),
        mark_and_nap=task(mark_and_nap, result_ttl=60, retry=Retry(1, delay=0.1)),
        mark_and_anap=task(mark_and_anap, result_ttl=60),
        mark_and_block_the_loop=task(mark_and_block_the_loop),
        grow=task(grow, result_ttl=60),
    )


if __name__ != "__main__" and "FERRYMAN_TEST_FLEET" in os.environ:
    app = Ferryman()
    tasks_on(app)
    if os.environ.get("FERRYMAN_TEST_FAIL_AT_START") == "1":

        @app.on_startup
        def fail() -> None:
            """Never become ready."""
            sys.stderr.write("this worker refuses to start\n")
            raise RuntimeError("refused")
