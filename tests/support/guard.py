"""Ends what a test run leaves behind: run by path, told over stdin what lives, acts when stdin closes.

The pipe closes when the test process ends, however it ends (a crash and kill -9 included) and from whatever
thread the servers were started; a parent-death signal would fire already when the *thread* that started a
server ends. One line a message: ``+pid``, ``-pid``, ``+/directory``, ``-/directory``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Remember what was announced; at the end of stdin kill those processes and remove those directories."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    alive: dict[str, None] = {}
    for line in sys.stdin:
        sign, name = line[0], line[1:].rstrip("\n")
        if sign == "+":
            alive[name] = None
        else:
            alive.pop(name, None)
    for name in (name for name in alive if name.isdigit()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(name), signal.SIGKILL)
    for name in (name for name in alive if not name.isdigit()):
        shutil.rmtree(name, ignore_errors=True)


if __name__ == "__main__":
    main()
