"""Processes that the harness starts: each dies with it, and each is stopped by its own id."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

STOP_DEADLINE_S = 8.0
ROOT = Path(__file__).parent.parent

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def start(
    command: list[str], *, log: Path, environment: Mapping[str, str] | None = None, piped: bool = False
) -> subprocess.Popen[bytes]:
    """Start a command in the repository's root, in a session of its own; output goes to `log`.

    With `piped`, standard input and output are pipes to the harness, and only errors go to the log.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - the harness has one thread
        )


def tree(roots: Iterable[subprocess.Popen[bytes]]) -> list[psutil.Process]:
    """The living processes under the roots, the roots included, parents before children."""
    found: list[psutil.Process] = []
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(root.pid)
            found += [top, *top.children(recursive=True)]
    return found


def stop(roots: list[subprocess.Popen[bytes]]) -> None:
    """Ask the roots to end, then end what is left of their trees. Returns once all are gone."""
    everything = tree(roots)
    for process in everything:
        _signal(process, signal.SIGCONT)
    for root in roots:
        with contextlib.suppress(ProcessLookupError):
            root.terminate()
    _, alive = psutil.wait_procs(everything, timeout=STOP_DEADLINE_S)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=STOP_DEADLINE_S)
    for root in roots:
        root.wait(timeout=STOP_DEADLINE_S)


def pause(roots: list[subprocess.Popen[bytes]]) -> None:
    """Freeze the trees, parents first, so that no supervisor sees a frozen child."""
    for process in tree(roots):
        _signal(process, signal.SIGSTOP)


def resume(roots: list[subprocess.Popen[bytes]]) -> None:
    """Let the trees run on, children first."""
    for process in reversed(tree(roots)):
        _signal(process, signal.SIGCONT)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
