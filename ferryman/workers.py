"""The worker processes of the whole fleet: who they are, and what they can be told."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from ferryman import notes, orders
from ferryman.errors import WorkerNotFound
from ferryman.notes import Note
from ferryman.orders import Order, Verb
from ferryman.store.sync import Operation

if TYPE_CHECKING:
    from ferryman.app import Ferryman

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.1


@dataclass(frozen=True)
class Answer:
    """What came of an order at one worker process."""

    worker: str
    done: bool
    """Whether it was taken. Else there was no answer in time: the process, or its supervisor, is stuck or
    gone, or of a version that takes no orders.
    """
    text: str = ""
    """The stacks, for that order."""


@dataclass(frozen=True)
class _Errand:
    """Orders that were given, and the workers that have not answered yet."""

    id: str
    workers: list[str]


class Workers:
    """The fleet of an app: iterate over it for what each worker process says of itself, or give it orders.

    An order goes to the workers that are named, by their own ids or by that of their supervisor, and without
    names to all. It gives one `Answer` for each of them, waiting `timeout` seconds at most. Raises
    `WorkerNotFound` for a name that nobody has, before anybody is told anything.
    """

    def __init__(self, app: Ferryman) -> None:
        self._app = app

    def __iter__(self) -> Iterator[Note]:
        return iter(self.notes())

    def notes(self) -> list[Note]:
        """What each worker process says of itself, a few seconds old; those that have gone are left out."""
        return self._app.store.drive(self._notes())

    async def anotes(self) -> list[Note]:
        """As `notes`, on the running event loop."""
        return await self._app.store.adrive(self._notes())

    def quiet(self, *ids: str, timeout: float = 5.0) -> list[Answer]:
        """Take no new jobs; what runs goes on. Holds for successors of the process, too, until `resume`."""
        return self._order("quiet", ids, timeout)

    async def aquiet(self, *ids: str, timeout: float = 5.0) -> list[Answer]:
        """As `quiet`, on the running event loop."""
        return await self._aorder("quiet", ids, timeout)

    def resume(self, *ids: str, timeout: float = 5.0) -> list[Answer]:
        """Take jobs again."""
        return self._order("resume", ids, timeout)

    async def aresume(self, *ids: str, timeout: float = 5.0) -> list[Answer]:
        """As `resume`, on the running event loop."""
        return await self._aorder("resume", ids, timeout)

    def stop(self, *ids: str, timeout: float = 5.0) -> list[Answer]:
        """End in good order: give back what has not begun, let what runs go on for the grace.

        A process that was stopped has no successor; with its last process its supervisor ends, too. The
        answer comes at the beginning of that.
        """
        return self._order("stop", ids, timeout)

    async def astop(self, *ids: str, timeout: float = 5.0) -> list[Answer]:
        """As `stop`, on the running event loop."""
        return await self._aorder("stop", ids, timeout)

    def stacks(self, *ids: str, timeout: float = 5.0) -> list[Answer]:
        """What each thread and each coroutine that runs a job does at this moment, as text."""
        return self._order("stacks", ids, timeout)

    async def astacks(self, *ids: str, timeout: float = 5.0) -> list[Answer]:
        """As `stacks`, on the running event loop."""
        return await self._aorder("stacks", ids, timeout)

    # -- both faces ------------------------------------------------------------------------------------------

    def _order(self, verb: Verb, ids: Sequence[str], timeout: float) -> list[Answer]:
        store, deadline, pause_s = self._app.store, time.monotonic() + timeout, _SHORTEST_PAUSE_S
        errand = store.drive(self._give(verb, ids))
        while True:
            answers = store.drive(self._collect(errand))
            left_s = deadline - time.monotonic()
            if all(answer.done for answer in answers) or left_s <= 0:
                return answers
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    async def _aorder(self, verb: Verb, ids: Sequence[str], timeout: float) -> list[Answer]:
        store, deadline, pause_s = self._app.store, time.monotonic() + timeout, _SHORTEST_PAUSE_S
        errand = await store.adrive(self._give(verb, ids))
        while True:
            answers = await store.adrive(self._collect(errand))
            left_s = deadline - time.monotonic()
            if all(answer.done for answer in answers) or left_s <= 0:
                return answers
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def _notes(self) -> Operation[list[Note]]:
        keys = self._app.store.fleet_keys
        found = []
        for worker_id in sorted((yield ("ZRANGE", keys.fleet, 0, -1))):
            record = yield ("GET", keys.worker(worker_id.decode()))
            try:
                if record is not None:
                    found.append(notes.decode(record))
            except msgspec.MsgspecError:  # of another version: its jobs are seen in the queues all the same
                continue
        return found

    def _give(self, verb: Verb, ids: Sequence[str]) -> Operation[_Errand]:
        found = yield from self._notes()
        known = {note.id for note in found} | {note.supervisor_id for note in found}
        if unknown := [name for name in ids if not name or name not in known]:
            raise WorkerNotFound(
                f"no worker {unknown[0]!r} is at work; 'ferryman workers' lists those that are"
            )
        chosen = [note for note in found if not ids or note.id in ids or note.supervisor_id in ids]
        order_id = secrets.token_hex(8)
        given = []
        for supervisor in sorted({note.supervisor_id for note in chosen if note.supervisor_id}):
            named = [note.id for note in chosen if note.supervisor_id == supervisor]
            given.append(Order(order_id, verb, supervisor, [] if not ids or supervisor in ids else named))
        if given:
            now_ms = yield from self._app.store.clock()
            yield from orders.give(self._app.store.fleet_keys, given, now_ms)
        return _Errand(order_id, [note.id for note in chosen])

    def _collect(self, errand: _Errand) -> Operation[list[Answer]]:
        keys = self._app.store.fleet_keys
        answers = []
        for worker in errand.workers:
            record = yield ("GET", keys.answer(errand.id, worker))
            text = "" if record is None else record.decode(errors="replace")
            answers.append(Answer(worker, record is not None, text))
        return answers
