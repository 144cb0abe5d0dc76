"""Jobs whose envelopes are newer than this worker: left to workers that can read them, and taken up where
older workers have left them to us.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from ferryman import chance, envelope
from ferryman.store.transitions import Deferral
from ferryman.worker.board import LEFT, NEWEST, READS, Board

logger = logging.getLogger("ferryman.worker")

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 30.0
SUMMON_S = 5.0
"""Each queue is asked this often for jobs that older workers have left. With it a newer worker has them
within seconds, however long their pauses have grown and however many older workers there are.
"""
_BUSY_SUMMON_S = 0.1


@dataclass(slots=True)
class _Pause:
    """Of one queue."""

    length_s: float
    grown_at: float
    met_at: float


class Newer:
    """What this worker process knows of jobs that are newer than itself."""

    def __init__(self, board: Board) -> None:
        self._board = board
        # Told by the process: its supervisor may be of another release, after a HUP.
        board.words[READS] = envelope.VERSION
        self._pauses: dict[str, _Pause] = {}
        self._reported: set[tuple[str, int]] = set()

    def defer(self, queue: str, local: bytes, version: int) -> Deferral:
        """A job of this version was met: for how long it is left to others.

        The pauses grow for as long as the queue keeps bringing such jobs, since then no newer worker is there
        to summon them; jobs that are read here have the queue to themselves meanwhile.
        """
        words = self._board.words
        words[NEWEST] = max(words[NEWEST], min(version, 2**62))  # whatever number stands there
        words[LEFT] += 1
        if (queue, version) not in self._reported and len(self._reported) < 1000:
            self._reported.add((queue, version))
            logger.warning(
                "queue %s: there are jobs of envelope version %d, this worker reads up to %d and leaves them "
                "to newer workers. Upgrade it, or start some",
                queue, version, envelope.VERSION,
            )  # fmt: skip
        return Deferral(local.decode(), version, int(self._pause_s(queue, time.monotonic()) * 1000))

    def _pause_s(self, queue: str, now: float) -> float:
        pause = self._pauses.get(queue)
        if pause is None or now - pause.met_at > 2 * pause.length_s + FIRST_PAUSE_S:
            pause = self._pauses[queue] = _Pause(FIRST_PAUSE_S, now, now)
        elif now - pause.grown_at >= pause.length_s:
            pause.length_s = min(pause.length_s * 2, LONGEST_PAUSE_S)
            pause.grown_at = now
        pause.met_at = now
        return pause.length_s


class Calls:
    """When to ask for what older workers have left: at once, and then every few seconds."""

    def __init__(self) -> None:
        self.at_ns = 0

    def due(self, now: int) -> bool:
        """Whether it is time to ask."""
        return now >= self.at_ns

    def asked(self, now: int, *, more: bool) -> None:
        """The queues have been asked; `more`: there may be more than there was room for."""
        pause_s = _BUSY_SUMMON_S if more else chance.between(0.8, 1.2) * SUMMON_S
        self.at_ns = now + int(pause_s * 1e9)
