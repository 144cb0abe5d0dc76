"""Finding a job by its id, and what a person may do with it: operations of a few steps, written once for both
faces.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from ferryman import envelope, ids, results
from ferryman.errors import FerrymanError
from ferryman.job import Cancellation, JobInfo, at, not_found, state_of
from ferryman.outcome import AttemptRecord
from ferryman.store import inspection
from ferryman.store.inspection import Located
from ferryman.store.sync import Operation
from ferryman.store.transitions import Transition

if TYPE_CHECKING:
    from ferryman.app import Ferryman

_CANCELLED_KEPT_MS = 24 * 3600 * 1000
_CANCELLATIONS = {
    "cancelled": Cancellation.CANCELLED,
    "asked": Cancellation.ASKED,
    "running": None,
    "gone": Cancellation.ENDED,
}
_attempts = msgspec.msgpack.Decoder(AttemptRecord)


class Lookup:
    """Looks at the jobs of one app."""

    def __init__(self, app: Ferryman) -> None:
        self._app = app

    def locating(self, local: str, queue: str) -> Transition[Located]:
        """The step that finds a job's place."""
        return inspection.locate(self._app.store.keys(queue), local)

    def info(self, local: str, queue: str) -> Operation[JobInfo]:
        """See `Job.info`."""
        located = yield self.locating(local, queue)
        if located.place == "gone" and located.result is None:
            raise not_found(ids.join(local, queue))
        return self.describe(local, queue, located)

    def describe(self, local: str, queue: str, located: Located) -> JobInfo:
        """What is known of a job that was found."""
        if located.envelope is None:
            return self._describe_ended(local, queue, located)
        attempts = _records(located.attempts)
        state = state_of(located.place)
        last = attempts[-1] if attempts else None
        due = located.score if located.place in ("delayed", "retries") else None
        died = located.score if located.place == "dead" else None
        try:
            letter = envelope.decode(located.envelope)
        except FerrymanError as error:  # shown as far as it can be: this is the one a person needs to see
            return JobInfo(
                id=ids.join(local, queue),
                queue=ids.base(queue),
                state=state,
                task=f"<unreadable: {error}>",
                args=None,
                kwargs=None,
                attempt=located.tries,
                attempts=attempts,
                crashes=located.crashes,
                enqueued_at=None,
                due_at=at(due),
                finished_at=at(died),
            )
        options = letter.options or {}
        args, kwargs = self._arguments(letter)
        return JobInfo(
            id=ids.join(local, queue),
            queue=ids.base(queue),
            state=state,
            task=letter.task,
            args=args,
            kwargs=kwargs,
            attempt=located.tries,
            attempts=attempts,
            crashes=located.crashes,
            enqueued_at=at(letter.enqueued_ms),
            due_at=at(due),
            started_at=at(last.started_ms) if last else None,
            finished_at=at(died),
            worker=located.holder or (last.worker if last else None),
            priority=options.get("priority", 0),
            tags=tuple(options.get("tags", ())),
            meta=options.get("meta", {}),
        )

    def _describe_ended(self, local: str, queue: str, located: Located) -> JobInfo:
        record = results.decode(located.result or b"")
        state = state_of(located.place, record.state)
        options: dict[str, Any] = record.options or {}
        return JobInfo(
            id=ids.join(local, queue),
            queue=ids.base(queue),
            state=state,
            task=record.task,
            args=None,
            kwargs=None,
            attempt=record.attempts,
            attempts=_records(located.attempts),
            crashes=0,
            enqueued_at=at(record.enqueued_ms),
            started_at=at(record.started_ms),
            finished_at=at(record.finished_ms),
            worker=record.worker or None,
            tags=tuple(options.get("tags", ())),
            meta=options.get("meta", {}),
        )

    def _arguments(self, letter: envelope.Envelope) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None]:
        task = self._app.tasks.get(letter.task)
        try:
            codec = task.codec if task else self._app.task_for(letter.task).codec
            return self._app.payloads.unpack(codec, letter.args, letter.kwargs, letter.options)
        except FerrymanError:
            return None, None

    def value_of(self, raw: bytes) -> Any:
        """What the task returned, from a result record: typed if the task is known here, else plain data."""
        record = results.decode(raw)
        codec = self._app.task_for(record.task).codec
        return self._app.payloads.unpack_result(codec, record.value, record.marks)

    def cancel(self, local: str, queue: str, running: bool = False) -> Operation[Cancellation | None]:
        """See `Job.cancel`; None if a worker runs it and is to be left alone."""
        keys = self._app.store.keys(queue)
        located = yield self.locating(local, queue)
        if located.envelope is None:
            return Cancellation.UNKNOWN if located.result is None else Cancellation.ENDED
        now_ms = yield from self._app.store.clock()
        try:
            letter = envelope.decode(located.envelope)
            task, enqueued_ms, options = letter.task, letter.enqueued_ms, letter.options
        except FerrymanError:
            task, enqueued_ms, options = "", 0, None
        shown: dict[str, object] = (
            {name: options[name] for name in ("tags", "meta") if name in options} if options else {}
        )
        record = results.ResultRecord(
            results.CANCELLED,
            task,
            attempts=located.tries,
            worker=located.holder or "",
            finished_ms=now_ms,
            enqueued_ms=enqueued_ms,
            options=shown or None,
        )
        outcome = yield inspection.cancel(
            keys, local, ttl_ms=_CANCELLED_KEPT_MS, record=results.encode(record), running=running
        )
        return _CANCELLATIONS[outcome]

    def revive(self, local: str, queue: str) -> Operation[bool]:
        """See `Job.retry`."""
        moved = yield inspection.revive(self._app.store.keys(queue), [local])
        return bool(moved)


def _records(raw: list[bytes]) -> tuple[AttemptRecord, ...]:
    found = []
    for record in raw:
        with contextlib.suppress(msgspec.MsgspecError, RecursionError):  # a foreign one hides no other
            found.append(_attempts.decode(record))
    return tuple(found)
