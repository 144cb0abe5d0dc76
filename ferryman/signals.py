"""Signals as something that a loop can wait on, beside its other sockets."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterable, Iterator


@contextlib.contextmanager
def caught(numbers: Iterable[signal.Signals]) -> Iterator[socket.socket]:
    """A socket that gives the number of each of these signals as a byte, for as long as the block lasts; then
    they are as before. For the main thread.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    handlers = {number: signal.signal(number, noted) for number in numbers}
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


def noted(_number: int, _frame: object) -> None:
    """The wake-up socket has the signal's number already; without a handler the signal would act."""
