"""What a supervisor and its child say to each other: lines over a socket pair. Its end tells either that the
other is gone.
"""

from __future__ import annotations

import json
import socket

DRAIN, NOW, QUIET, RESUME, STACKS = "drain", "now", "quiet", "resume", "stacks"
"""To the child: end when what runs is done; end at once; take nothing new; take jobs again; print what each
slot does.
"""
CANCEL = "cancel "
"""To the child, followed by JSON, queue and id: end that job. See `cancel_order`."""
STACKS_OF = "stacks "
"""To the child and back, followed by JSON: send what each slot does. See `stacks_order`, `stacks_answer`."""
LONGEST_STACKS = 1_000_000
READY, RECYCLE = "ready", "recycle"
"""From the child: it takes jobs; it is about to end and wants a successor."""


def stacks_order(order_id: str) -> str:
    """The line that asks a child for its stacks."""
    return STACKS_OF + json.dumps(order_id)


def stacks_answer(order_id: str, text: str) -> str:
    """The line with which a child answers that."""
    return STACKS_OF + json.dumps([order_id, text[:LONGEST_STACKS]])


def cancel_order(queue: str, local: str) -> str:
    """The line that tells a child to end a job."""
    return CANCEL + json.dumps([queue, local])


class Control:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._rest = b""
        self.closed = False

    def fileno(self) -> int:
        """To wait on."""
        return self._socket.fileno()

    def say(self, line: str) -> None:
        """Send a line. If the other end is gone, nothing happens: that is noticed by reading."""
        try:
            self._socket.sendall(line.encode() + b"\n")
        except OSError:
            return

    def hear(self) -> list[str]:
        """The lines that have come; blocks until there is something. Sets `closed` when the other end is
        gone.
        """
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
