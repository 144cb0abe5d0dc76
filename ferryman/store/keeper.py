"""The keeper: the small process that owns the server of one embedded data directory.

`ferryman.store.embedded` runs this file by its path, under a bare interpreter (``python -I -S``), and never
imports it: it lives as long as the server does and should cost a few megabytes, so it uses nothing outside
the standard library's core. Nobody types this command:

    keeper.py DIRECTORY SOCKET KEEPER_LOCK_FD SERVER ARGUMENT...

Three locks (`flock`) in the data directory carry the whole protocol; the kernel drops each with its last
holder, so that nothing stale is left by a kill -9 or a power cut:

- ``users.lock``: every user process holds it shared. The keeper waits for it exclusively: when it has it,
  nobody uses the server any more, and nobody can begin to until the keeper has stopped the server and is
  gone.
- ``keeper.lock``: held by the keeper. The user who starts a keeper takes it first and hands it down *as an
  open file*, so there is no moment at which two keepers could start.
- ``server.lock``: held by the keeper *and inherited by its servers*: while a server whose keeper was killed
  still lives, the next keeper waits, and two servers never write one AOF.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from types import FrameType

ORPHAN_DEADLINE_S = 15.0
STOP_DEADLINE_S = 60
SHORT_LIFE_S = 5.0
LONGEST_BACKOFF_S = 2.0
LOG_LIMIT_BYTES = 1_000_000
GAVE_UP = 1
PR_SET_PDEATHSIG = 1


class Keeper:
    """Starts the server, restarts it when it was killed, stops it when its last user has gone."""

    def __init__(self, directory: str, socket_path: str, keeper_lock: int, command: list[str]) -> None:
        self.directory = directory
        self.socket_path = socket_path
        self.command = command
        self.keeper_lock = keeper_lock
        self.users_lock = self._open("users.lock")
        self.server_lock = self._open("server.lock")
        self.pid = 0
        self.server = 0
        self.waiter = 0

    def claim(self) -> str:
        """Take ``server.lock``, ending an orphaned server if there is one; returns the trouble, or ``""``."""
        deadline = time.monotonic() + ORPHAN_DEADLINE_S
        ask = 0.0
        while True:
            try:
                fcntl.flock(self.server_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                if now > deadline:
                    return f"a server without a keeper still holds {self.directory} and does not end"
                if now >= ask:
                    # On Linux it had its SIGTERM when its keeper died. Elsewhere it is asked through its
                    # socket and not through a recorded pid, which may belong to somebody else by now.
                    ask = now + 1.0
                    self._ask_to_shut_down()
                time.sleep(0.01)
            else:
                return ""

    def run(self) -> int:
        """Keep the server until its last user is gone (0), or until it cannot be started (`GAVE_UP`)."""
        self.pid = os.getpid()
        os.ftruncate(self.keeper_lock, 0)
        os.pwrite(self.keeper_lock, f"{self.pid} {os.uname().nodename}\n".encode(), 0)
        try:
            self._start_waiter()
            self._start_server()
            return self._watch()
        finally:
            self._end_children()

    def _watch(self) -> int:
        born, short_lives = time.monotonic(), 0
        while True:
            pid, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            if pid == self.waiter:
                self.waiter = 0
                if code == 0:
                    note("the last user has gone; stopping the server")
                    return 0
                time.sleep(0.1)  # somebody killed it
                self._start_waiter()
            elif pid == self.server:
                self.server = 0
                if code > 0:
                    # It ended by its own decision (an AOF it cannot read, a full disk): another start now
                    # would end the same way. The next user who asks starts a new keeper and sees the log.
                    note(f"the server ended with status {code}; giving up")
                    return GAVE_UP
                short_lives = short_lives + 1 if time.monotonic() - born < SHORT_LIFE_S else 0
                pause = min(0.05 * 2**short_lives, LONGEST_BACKOFF_S) if short_lives > 1 else 0.0
                note(f"the server was ended ({signal_name(code)}) while in use; restarting it in {pause:g} s")
                time.sleep(pause)
                self._start_server()
                born = time.monotonic()

    def _start_waiter(self) -> None:
        """A child that waits for the last user: it blocks in `flock` while the keeper blocks in `wait`.

        The lock belongs to the open file, which both processes share: it stays held by the keeper when the
        child ends.
        """
        self.waiter = self._fork("the waiter")
        if self.waiter == 0:
            try:
                die_with_parent(self.pid, signal.SIGKILL)
                # Not its own to hold: a waiter left over by a killed keeper must not look like a keeper or a
                # server.
                os.close(self.keeper_lock)
                os.close(self.server_lock)
                fcntl.flock(self.users_lock, fcntl.LOCK_EX)
            except BaseException:  # noqa: BLE001 - a forked child must never run on into its parent's code
                os._exit(1)
            os._exit(0)

    def _start_server(self) -> None:
        redirect_to_log(self.directory)
        note(f"starting {self.command[0]}")
        self.server = self._fork("the server")
        if self.server == 0:
            try:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                die_with_parent(self.pid, signal.SIGTERM)
                os.set_inheritable(self.server_lock, True)
                os.execv(self.command[0], self.command)  # noqa: S606 - the server needs no shell
            except BaseException as error:  # noqa: BLE001 - see the waiter
                note(f"cannot run {self.command[0]}: {error}")
            os._exit(127)

    def _fork(self, name: str) -> int:
        try:
            return os.fork()
        except OSError as error:
            note(f"cannot start {name}: {error}")
            raise

    def _end_children(self) -> None:
        if self.waiter:
            os.kill(self.waiter, signal.SIGKILL)
            os.waitpid(self.waiter, 0)
        if self.server:
            self._stop_server()
        # keeper.lock first: who gets users.lock next must find that there is no keeper.
        os.close(self.keeper_lock)
        os.close(self.server_lock)
        os.close(self.users_lock)

    def _stop_server(self) -> None:
        """SIGTERM, repeated, as the first may meet a process without its handlers yet; SIGKILL at last."""
        seconds = 0

        def insist(_number: int, _frame: FrameType | None) -> None:
            nonlocal seconds
            seconds += 1
            os.kill(self.server, signal.SIGTERM if seconds < STOP_DEADLINE_S else signal.SIGKILL)

        signal.signal(signal.SIGALRM, insist)
        signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
        os.kill(self.server, signal.SIGTERM)
        _, status = os.waitpid(self.server, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        note(f"the server has stopped ({signal_name(os.waitstatus_to_exitcode(status))})")

    def _ask_to_shut_down(self) -> None:
        import socket

        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(1.0)
                link.connect(self.socket_path)
                link.sendall(b"SHUTDOWN\r\n")
                link.recv(100)
        except OSError:
            pass

    def _open(self, name: str) -> int:
        return os.open(os.path.join(self.directory, name), os.O_RDWR | os.O_CREAT, 0o600)


def die_with_parent(parent: int, number: int) -> None:
    """Linux: have the kernel send the signal when the parent dies (it survives exec). Elsewhere: nothing."""
    if sys.platform != "linux":
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:  # it died before the kernel was asked
        os.kill(os.getpid(), number)


def redirect_to_log(directory: str) -> None:
    """Send stdout and stderr to ``server.log``; one past its limit becomes ``server.log.1`` first."""
    path = os.path.join(directory, "server.log")
    try:
        if os.stat(path).st_size > LOG_LIMIT_BYTES:
            os.replace(path, path + ".1")
    except FileNotFoundError:
        pass
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def note(text: str) -> None:
    """One line in the server's log; a full disk must not end the keeper."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        os.write(2, f"{os.getpid()}:K {stamp} keeper: {text}\n".encode())
    except OSError:  # contextlib is not imported: it would cost the keeper half a megabyte more
        return


def signal_name(code: int) -> str:
    """What an exit code says: ``SIGKILL`` for -9, ``status 0`` for 0."""
    try:
        return signal.Signals(-code).name if code < 0 else f"status {code}"
    except ValueError:
        return f"signal {-code}"


def main(arguments: list[str]) -> int:
    """Run in the foreground until the directory is ours, then go on in the background."""
    directory, socket_path, keeper_lock, *command = arguments
    os.umask(0o077)
    os.chdir("/")
    # Ignored or blocked signals pass through exec: those of the user who happened to come first are not ours.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # A service manager signals the whole group when it stops one of the users; the others, and its own last
    # commands, still need the server. The keeper goes when the users have gone.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(int(keeper_lock), False)
    keeper = Keeper(directory, socket_path, int(keeper_lock), command)
    trouble = keeper.claim()
    if trouble:
        os.write(2, trouble.encode())
        return GAVE_UP
    # Orphaned on purpose: the process that started it neither waits for it nor keeps it as a zombie.
    if os.fork():
        os._exit(0)
    redirect_to_log(directory)
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
