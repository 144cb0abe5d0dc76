"""The tasks that the chaos runs: each writes down its start and its finish, and some do harm in between.

A test makes them for its own app with `Tasks(app, path)`; a fleet's processes take everything from the
environment.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

from ferryman import Ferryman, Retry, Snooze, current_job
from tests.support.history import Recorder

HISTORY = "FERRYMAN_CHAOS_HISTORY"
HANG_S = 1000


class Tasks:
    """The tasks of one app. Each takes the job's number first."""

    def __init__(self, app: Ferryman, path: str | Path) -> None:
        self.recorder = Recorder(path)
        self.work = self._register(app, work)
        self.awork = self._register(app, awork)
        self.value = self._register(app, value, result_ttl=600)
        self.gated = self._register(app, gated)
        self.unsteady = self._register(app, unsteady, retry=Retry(3, delay=0.05))
        self.doomed = self._register(app, doomed, retry=None)
        self.drowsy = self._register(app, drowsy)
        self.overrun = self._register(app, overrun, timeout=0.3, retry=None)
        self._register(app, segfault)
        self._register(app, leave)
        self._register(app, kill_itself)
        for hangs in (spin, sleep_in_c, hold_the_gil, hang, block_the_loop):
            self._register(app, hangs, timeout=0.5, retry=None)

    @staticmethod
    def _register(app: Ferryman, fn: Any, **options: Any) -> Any:
        return app.task(name=f"chaos:{fn.__name__}", **options)(fn)


def _start(number: int) -> None:
    tasks.recorder.note("start", number, current_job().attempt)


def _finish(number: int) -> None:
    tasks.recorder.note("finish", number, current_job().attempt)


def work(number: int, milliseconds: float) -> None:
    """Take some time on a thread."""
    _start(number)
    time.sleep(milliseconds / 1000)
    _finish(number)


async def awork(number: int, milliseconds: float) -> None:
    """Take some time on the loop."""
    _start(number)
    await asyncio.sleep(milliseconds / 1000)
    _finish(number)


def value(number: int, milliseconds: float) -> int:
    """Take some time and return which process did it."""
    _start(number)
    time.sleep(milliseconds / 1000)
    _finish(number)
    return os.getpid()


def gated(number: int, gate: str) -> int:
    """Go on when the file `gate` is there."""
    _start(number)
    while not os.path.exists(gate):
        time.sleep(0.01)
    _finish(number)
    return os.getpid()


def unsteady(number: int) -> None:
    """Fail at the first attempt."""
    if current_job().attempt == 1:
        raise ValueError("the first attempt always fails")
    _start(number)
    _finish(number)


def doomed(number: int) -> None:
    """Do its work, and fail nevertheless, for good."""
    _start(number)
    _finish(number)
    raise ValueError("this job always fails")


def overrun(number: int) -> None:
    """Work until told that the time is over."""
    _start(number)
    try:
        while True:
            time.sleep(0.01)
    finally:
        _finish(number)


def drowsy(number: int, marks: str) -> None:
    """Ask for another turn, once; `marks` is a folder to remember that in."""
    try:
        os.close(os.open(os.path.join(marks, str(number)), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        _start(number)
        _finish(number)
    else:
        raise Snooze(0.05)


# -- harm ----------------------------------------------------------------------------------------------------


def segfault(number: int) -> None:
    """Read address 0, as a faulty C extension would."""
    _start(number)
    ctypes.string_at(0)


def leave(number: int, code: int) -> None:
    """End the process behind everybody's back."""
    _start(number)
    os._exit(code)


def kill_itself(number: int) -> None:
    """What the kernel does to a process that takes too much memory."""
    _start(number)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(HANG_S)


def spin(number: int) -> None:
    """Python that never ends."""
    _start(number)
    while True:
        pass


def sleep_in_c(number: int) -> None:
    """C code that never ends, and lets others run."""
    _start(number)
    time.sleep(HANG_S)


def hold_the_gil(number: int) -> None:
    """C code that never ends, and lets nobody run."""
    _start(number)
    ctypes.PyDLL(None).sleep(HANG_S)


async def hang(number: int) -> None:
    """A coroutine that waits for what never comes."""
    _start(number)
    await asyncio.Event().wait()


async def block_the_loop(number: int) -> None:
    """A coroutine that lets no other run."""
    _start(number)
    time.sleep(HANG_S)  # noqa: ASYNC251


if "FAKETIME_TIMESTAMP_FILE" in os.environ:
    # Python sleeps until a moment of the monotonic clock, and libfaketime 0.9.10 refuses such sleeps (EINVAL)
    # when it is told to leave that clock alone.
    def _sleep(seconds: Any) -> None:
        select.select([], [], [], seconds)

    time.sleep = _sleep

if HISTORY in os.environ:
    app = Ferryman()
    tasks = Tasks(app, os.environ[HISTORY])
