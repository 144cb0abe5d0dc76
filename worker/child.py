"""A worker process as its supervisor sees it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple

from ferryman.worker import exitcodes
from ferryman.worker.board import DONE, DRAINING, PROGRESS, STATE, Board, Entry
from ferryman.worker.control import Control, cancel_order
from ferryman.worker.settings import WorkerSettings


class Departure(NamedTuple):
    """How a process ended."""

    code: int
    """Its exit code, or minus the number of the signal that killed it."""
    holder: str
    """Under which name it held jobs; '' if it never held any."""
    running: list[Entry]
    """What it was running at its end."""
    draining: bool
    """Whether it was about to end anyway."""
    done: int = 0
    """How many jobs it had finished."""

    @property
    def orderly(self) -> bool:
        """Whether it ended by its own decision. The exit code alone does not tell: a job may call `os._exit`
        with any of ours, and nothing would stop it from doing so in the next process, and the next.
        """
        if self.code == exitcodes.BROKEN_OFF:
            return self.draining
        return self.code in {exitcodes.CLEAN, exitcodes.RECYCLED, exitcodes.NO_APP} and not self.running

    def __str__(self) -> str:
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        try:
            return f"was killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was killed by signal {-self.code}"


class Child:
    """One process, from its start to its end. `place` is which of the fleet's processes it is."""

    def __init__(self, place: int, settings: WorkerSettings) -> None:
        self.place = place
        self.started = time.monotonic()
        self.started_ms = int(time.time() * 1000)
        self.ready = False
        self.stopped = False
        """By SIGSTOP: its lease is left to lapse."""
        self.replaced = False
        """It ends by its own wish, and has a successor."""
        self.condemned = ""
        """Why we killed it."""
        self.overdue: list[Entry] = []
        """The jobs that we killed it for."""
        self.cancelled: dict[tuple[str, str], int] = {}
        """Queue and id of jobs that it was told to cancel and has not ended; when it was told (monotonic)."""
        self.board, board_fd = Board.shared(settings.threads + settings.concurrency)
        ours, theirs = socket.socketpair()
        try:
            command = [
                sys.executable, "-m", "ferryman.worker.process", str(theirs.fileno()), str(board_fd),
            ]  # fmt: skip
            # Its own process group: what a terminal sends reaches it through us, once.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), board_fd), process_group=0
            )
        finally:
            theirs.close()
            os.close(board_fd)
        self.control = Control(ours)
        self.control.say(json.dumps({"path": sys.path, "settings": settings.to_json()}))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def holder(self) -> str:
        """Under which name it holds jobs now."""
        return self.board.holder()

    def progress_ns(self) -> int:
        """When it last reached Redis (monotonic); 0: not yet."""
        return int(self.board.words[PROGRESS])

    def cancel(self, queue: str, local: str) -> None:
        """Tell it to end a job."""
        self.cancelled[queue, local] = time.monotonic_ns()
        self.control.say(cancel_order(queue, local))

    def kill(self, why: str) -> None:
        """End it at once. The first reason counts."""
        self.condemned = self.condemned or why
        self._process.kill()

    def look(self) -> Departure | None:
        """Note whether it was stopped or continued; if it has ended, how."""
        while True:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return self._departed(0)
            if pid == 0:
                return None
            if os.WIFSTOPPED(status):
                self.stopped = True
            elif os.WIFCONTINUED(status):
                self.stopped = False
            else:
                return self._departed(os.waitstatus_to_exitcode(status))

    def _departed(self, code: int) -> Departure:
        self._process.returncode = code  # so that Popen does not wait for it as well
        words = self.board.words
        return Departure(code, self.holder(), self.board.running(), words[STATE] == DRAINING, words[DONE])

    def close(self) -> None:
        """Free what belongs to a process that has ended."""
        self.control.close()
        self.board.close()
