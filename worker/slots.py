"""The threads of a worker process. A slot takes a job, runs it, says what becomes of it, and takes the next.

`Slot._work` is the hot path: what a job costs here, every job pays.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time

from ferryman.execution import NOTHING, Attempt, execute_sync, outcome_of
from ferryman.interrupts import Interrupt, deliver_pending, raise_in
from ferryman.outcome import Failed, Outcome
from ferryman.settlement import DONE, RELEASED, settle
from ferryman.worker.board import DEADLINE, LENGTH, QUEUE, Board
from ferryman.worker.clock import ServerClock
from ferryman.worker.deadlines import Deadlines
from ferryman.worker.handover import Handover
from ferryman.worker.reports import tell

logger = logging.getLogger("ferryman.worker")


class Slot:
    """One thread that runs sync tasks."""

    def __init__(
        self,
        number: int,
        handover: Handover,
        board: Board,
        deadlines: Deadlines,
        clock: ServerClock,
        queues: dict[str, int],
        kill_after_ns: int,
    ) -> None:
        self.number = number
        self.current: Attempt | None = None
        self.limit: tuple[Attempt, int] | None = None
        """When which attempt is to be interrupted. Both in one value: read apart, the limit of a job could be
        taken for that of the next.
        """
        self._handover = handover
        self._board = board
        self._deadlines = deadlines
        self._clock = clock
        self._queues = queues
        self._kill_after_ns = kill_after_ns
        self._inside = False
        self._interrupt: type[Interrupt] | None = None
        self._raised = False
        self._guard = threading.Lock()
        self._asleep = threading.Lock()
        self._asleep.acquire()
        self._thread = threading.Thread(target=self._run, name=f"ferryman-slot-{number}", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end. Whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def thread_id(self) -> int:
        """As `threading.get_ident` names it; 0 before the start."""
        return self._thread.ident or 0

    def _run(self) -> None:
        while True:
            try:
                return self._work()
            except BaseException as error:  # noqa: BLE001 (a job must not be lost, nor a thread, whatever happens)
                self._mend(error)

    def _mend(self, error: BaseException) -> None:
        """Our own code failed between two jobs, or was hit by the second of two interrupts: settle the job,
        go on.
        """
        self._disarm()
        attempt, self.current = self.current, None
        if not isinstance(error, Interrupt):
            logger.error("a slot met an error of its own, and goes on", exc_info=error)
        if attempt is not None:
            settled = (
                RELEASED
                if isinstance(error, Interrupt)
                else settle(attempt, Failed(error), self._clock.now_ms())
            )
            self._handover.done.append((attempt, settled))
            self._handover.nudge()

    def _work(self) -> None:  # noqa: PLR0912, PLR0915 (a call for each step would cost as much as the step)
        handover, board, clock, queues = self._handover, self._board, self._clock, self._queues
        ready, idle, finish = handover.ready, handover.idle, handover.done.append
        take, now, fresh = ready.popleft, time.monotonic_ns, contextvars.Context().copy
        words, memory = board.words, board.bytes
        word, byte = board.places(self.number)
        deadline_word, queue_word, length_word = word + DEADLINE, word + QUEUE, word + LENGTH
        woken = True
        while True:
            try:
                attempt = take()
            except IndexError:
                words[word] = 0
                if not self._rest():
                    return
                woken = True
                continue
            if woken:  # each sleeper that is woken wakes one more while there is work
                woken = False
                if ready and idle:
                    handover.wake_one()
            local = attempt.local
            words[word] = 0
            memory[byte : byte + len(local)] = local
            words[length_word] = len(local)
            words[queue_word] = queues[attempt.queue]
            attempt.started_ns = started = now()
            self.current = attempt
            if attempt.timeout_s is not None:
                words[deadline_word] = self._limited(attempt, attempt.timeout_s) + self._kill_after_ns
            else:
                words[deadline_word] = 0
            words[word] = started
            context = fresh()
            outcome: Outcome | None = None
            # An interrupt may come anywhere between `_inside` set and cleared, also on the way out of the
            # task, and must neither be lost nor hit the next job. `interrupt` first says that it comes and
            # then looks at `_inside`; here it is the other way round, so at least one side sees the other,
            # and the hot path needs no lock.
            try:
                self._inside = True
                outcome = context.run(execute_sync, attempt)
                self._inside = False
                if self._interrupt is not None:
                    self._disarm()
            except Interrupt as error:
                self._disarm()
                if outcome is None:
                    outcome = outcome_of(attempt, error)
            ended = now()
            attempt.took_ns = ended - started
            if outcome is NOTHING and attempt.plain:
                settled = DONE
            else:
                settled = settle(attempt, outcome, ended // 1_000_000 + clock.offset_ms)
                context.run(tell, attempt, outcome, settled)
            self.current = None
            finish((attempt, settled))
            if handover.listening:
                handover.nudge()

    def _limited(self, attempt: Attempt, timeout_s: float) -> int:
        """Have the attempt that begins now interrupted in time. When that is."""
        limit_ns = attempt.started_ns + int(timeout_s * 1e9)
        self.limit = (attempt, limit_ns)
        if limit_ns < self._deadlines.next_ns:
            self._deadlines.nudge()
        return limit_ns

    def _rest(self) -> bool:
        """Sleep until there may be work. Whether to go on."""
        handover = self._handover
        if handover.gathering:
            handover.nudge()
        wake = self._asleep.release
        handover.idle.append(wake)
        if handover.ready or handover.closed:  # it came, or ended, while we lay down
            try:
                handover.idle.remove(wake)
            except ValueError:
                self._asleep.acquire()  # somebody wakes us just now
            return not handover.closed or bool(handover.ready)
        self._asleep.acquire()
        return not handover.closed or bool(handover.ready)

    # -- interrupts ------------------------------------------------------------------------------------------

    def interrupt(self, attempt: Attempt, interrupt: type[Interrupt]) -> bool:
        """Raise into the task if it runs this attempt now. Whether it did. Called by other threads."""
        with self._guard:
            self._interrupt = interrupt
            if self._inside and self.current is attempt:
                self._raised = raise_in(self.thread_id, interrupt)
                return self._raised
            self._interrupt = None
            return False

    def _disarm(self) -> None:
        """After this no interrupt of the attempt that is over can come any more."""
        while True:
            try:
                self._inside = False
                with self._guard:  # whoever was about to raise has done so, or never will
                    raised, self._raised = self._raised, False
                    self._interrupt = None
                if raised:
                    deliver_pending()
                return
            except Interrupt:
                continue
