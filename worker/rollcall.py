"""A fleet's notes about itself, from the boards of its processes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

from ferryman import __version__, ids
from ferryman.worker.board import DONE, FAILED, LEFT, NEWEST, READS, RSS, STATE, STATES
from ferryman.worker.child import Child
from ferryman.worker.notes import Doing, Note
from ferryman.worker.settings import WorkerSettings


def notes_of(
    children: Sequence[Child], settings: WorkerSettings, queues: Sequence[str], supervisor_id: str
) -> list[Note]:
    """One note for each process that holds a lease."""
    host, supervisor = socket.gethostname(), os.getpid()
    now_ns, now_ms = time.monotonic_ns(), int(time.time() * 1000)
    found = []
    for child in children:
        try:
            holder, words = child.holder(), child.board.words
            if not holder:
                continue
            progress = child.progress_ns()
            doing = [
                Doing(
                    f"{entry.local.decode(errors='replace')}@{queues[entry.queue]}",
                    (now_ns - entry.started_ns) / 1e9,
                )
                for entry in child.board.running()
            ]
            found.append(
                Note(
                    holder, host, child.pid, supervisor, "stopped" if child.stopped else STATES[words[STATE]],
                    list(dict.fromkeys(map(ids.base, queues))), settings.threads, settings.concurrency,
                    child.started_ms, now_ms,
                    words[DONE], words[FAILED], words[RSS],
                    (now_ns - progress) / 1e9 if progress else 0.0, doing,
                    supervisor_id,
                __version__, words[READS], words[NEWEST], words[LEFT],
                )
            )  # fmt: skip
        except ValueError:  # its board was closed just now: it has ended
            continue
    return found
