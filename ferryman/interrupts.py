"""What is raised *into* a running job from outside, and how it is raised into a thread.

All derive from `BaseException`, so that a task's ``except Exception`` does not swallow them. A task may
catch them to clean up, and should let them pass on."""

from __future__ import annotations

import ctypes


class Interrupt(BaseException):
    """Raised into a job by its worker."""


class TimeLimit(Interrupt):
    """The attempt ran longer than its ``timeout``. A coroutine is cancelled instead
    (`asyncio.CancelledError`).
    """


class ShuttingDown(Interrupt):
    """The worker has to end and its grace is over. The job goes back to its queue, and the attempt does not
    count.
    """


class Cancelled(Interrupt):
    """Somebody asked to cancel the job while it ran. A coroutine is cancelled instead
    (`asyncio.CancelledError`).
    """


_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_async_exc.restype = ctypes.c_int


def raise_in(thread_id: int, interrupt: type[Interrupt]) -> bool:
    """Have `interrupt` raised in a thread, at the next bytecode it runs; not while it is inside C code.

    Whether there was such a thread. A second call before the first was delivered replaces it. There is no way
    to take one back: CPython offers NULL for that, and then believes for ever that an exception is pending
    (3.11 and 3.12), which slows every thread and hangs those that are traced. So the thread lets it come:
    `deliver_pending`.
    """
    return bool(_set_async_exc(ctypes.c_ulong(thread_id), ctypes.py_object(interrupt)))


def deliver_pending() -> None:
    """For a thread that nobody will interrupt any more: what is on its way is raised here at the latest."""
    for _ in range(10):  # CPython raises what is pending when it jumps backwards
        pass
