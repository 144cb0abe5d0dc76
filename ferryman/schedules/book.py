"""``app.schedules``: the schedules that are kept in Redis, and what a person or a program may do with them.

The dashboard and ``ferryman schedules`` are built on this and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from ferryman import ids
from ferryman.errors import InvalidOption
from ferryman.job import Job, at
from ferryman.schedules import history, jobs
from ferryman.schedules.defining import JobOptions, Moment, ScheduleOptions, define, job_fields
from ferryman.schedules.definition import Definition, timing
from ferryman.schedules.info import ScheduledRun, ScheduleInfo, info_of
from ferryman.schedules.keeping import Keeper, require
from ferryman.schedules.merge import edited
from ferryman.schedules.record import Record, decode
from ferryman.schedules.spans import Span, moment_ms
from ferryman.schedules.timetable import between, upcoming
from ferryman.store import scheduling
from ferryman.store.scheduling import Firing
from ferryman.store.sync import Operation

if TYPE_CHECKING:
    from ferryman.app import Ferryman
    from ferryman.task import Task

BACKFILL_LIMIT = 1000
_BACKFILL_KEPT_MS = 30 * 86_400_000
"""How long a backfilled tick is known to have run, so that the same backfill does not run it again."""
_BACKFILL_BATCH = 200


class Schedules:
    """The schedules of one app, as they are kept. Every method has a twin on the running event loop: `ainfo`
    for `info`, and so on.
    """

    def __init__(self, app: Ferryman) -> None:
        self._app = app
        self._keeper = Keeper(app)

    # -- looking ---------------------------------------------------------------------------------------------

    def overview(self) -> list[ScheduleInfo]:
        """Every schedule, by name. Reads all of them, 500 a round trip."""
        return self._app.store.drive(self._overview())

    async def aoverview(self) -> list[ScheduleInfo]:
        """As `overview`."""
        return await self._app.store.adrive(self._overview())

    def _overview(self) -> Operation[list[ScheduleInfo]]:
        found = []
        for queue in (yield from self._keeper.queues()):
            for name, raw, hands, due in (yield from self._keeper.scan(queue)):
                found.append(info_of(queue, name, raw, hands, due, self._app.tasks))
        return sorted(found, key=lambda info: info.name)

    def info(self, name: str) -> ScheduleInfo:
        """One schedule. Raises `ScheduleNotFound`, with the nearest name there is."""
        return self._app.store.drive(self._info(name))

    async def ainfo(self, name: str) -> ScheduleInfo:
        """As `info`."""
        return await self._app.store.adrive(self._info(name))

    def _info(self, name: str) -> Operation[ScheduleInfo]:
        queue, kept = yield from self._keeper.find(name)
        return info_of(queue, name, kept.record, kept.hands, kept.due_ms, self._app.tasks)

    def upcoming(self, name: str, count: int = 5) -> list[datetime]:
        """The next nominal times, in UTC, whether it is paused or not. Raises `ScheduleNotFound`."""
        return self._app.store.drive(self._upcoming(name, count))

    async def aupcoming(self, name: str, count: int = 5) -> list[datetime]:
        """As `upcoming`."""
        return await self._app.store.adrive(self._upcoming(name, count))

    def _upcoming(self, name: str, count: int) -> Operation[list[datetime]]:
        _, kept = yield from self._keeper.find(name)
        definition = decode(kept.record or b"").definition()
        moments = upcoming(definition.table(), kept.now_ms, count)
        return [found for moment in moments if (found := at(moment)) is not None]

    def history(self, name: str, limit: int = 20) -> list[ScheduledRun]:
        """The last runs with how each ended, newest first; a hundred are kept. Raises `ScheduleNotFound`."""
        return self._app.store.drive(self._history(name, limit))

    async def ahistory(self, name: str, limit: int = 20) -> list[ScheduledRun]:
        """As `history`."""
        return await self._app.store.adrive(self._history(name, limit))

    def _history(self, name: str, limit: int) -> Operation[list[ScheduledRun]]:
        queue, _ = yield from self._keeper.find(name)
        return (yield from history.runs(self._app, queue, name, limit))

    # -- changing --------------------------------------------------------------------------------------------

    def add(
        self,
        task: str | Task[..., Any] | Callable[..., Any],
        *,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: JobOptions | None = None,
        cron: str | None = None,
        every: Span | None = None,
        at: Moment | Sequence[Moment] | None = None,
        **when: Unpack[ScheduleOptions],
    ) -> ScheduleInfo:
        """Add a schedule at run time. It stays until somebody removes it.

        Raises `InvalidOption` for a name that is taken or times that cannot be, and what `Task.enqueue` does
        for arguments.
        """
        definition = define(
            self._app, task, name=name, args=args, kwargs=kwargs, options=options, cron=cron, every=every,
            at=at, **when,
        )  # fmt: skip
        return self._app.store.drive(self._add(definition))

    async def aadd(self, task: str | Task[..., Any] | Callable[..., Any], **given: Any) -> ScheduleInfo:
        """As `add`."""
        return await self._app.store.adrive(self._add(define(self._app, task, **given)))

    def put(self, definition: Definition, *, replace: bool = False) -> ScheduleInfo:
        """Add a definition that was made or read elsewhere; `replace` one of that name that was added at run
        time. Raises `InvalidOption`.
        """
        return self._app.store.drive(self._add(definition, replace))

    async def aput(self, definition: Definition, *, replace: bool = False) -> ScheduleInfo:
        """As `put`."""
        return await self._app.store.adrive(self._add(definition, replace))

    def _add(self, definition: Definition, replace: bool = False) -> Operation[ScheduleInfo]:
        now_ms = yield from self._app.store.clock()
        if definition.table().after(now_ms) is None:
            raise InvalidOption(f"schedule {definition.name!r} has no tick in the future")

        def change(record: Record | None) -> Record:
            if record is None:
                return Record(base=definition)
            if not replace or record.source:
                origin = f"; it comes from {record.source}" if record.source else ""
                raise InvalidOption(f"there is a schedule {definition.name!r} already{origin}")
            return msgspec.structs.replace(record, base=definition, edits={})

        yield from self._keeper.change(definition.name, change)
        return (yield from self._info(definition.name))

    def edit(self, name: str, *, options: JobOptions | None = None, **when: Any) -> ScheduleInfo:
        """Change when it runs, its policies, or options of its jobs; what is not named stays.

        An edit of a schedule that code or a file defines holds until that says something new of the same
        field, or until `reset`. Raises `ScheduleNotFound`, `InvalidOption`.
        """
        return self._app.store.drive(self._edit(name, options, when))

    async def aedit(self, name: str, *, options: JobOptions | None = None, **when: Any) -> ScheduleInfo:
        """As `edit`."""
        return await self._app.store.adrive(self._edit(name, options, when))

    def _edit(self, name: str, options: JobOptions | None, when: dict[str, Any]) -> Operation[ScheduleInfo]:
        def change(record: Record | None) -> Record:
            kept = require(record, name)
            definition = kept.definition()
            fields = timing({"tz": definition.tz, **when})
            if options:
                task = self._app.task_for(definition.task)
                chosen = task.defaults.override(**options)
                fields |= {key: value for key, value in job_fields(chosen).items() if value is not None}
                fields["options"] = {**definition.options, **fields["options"]}
                fields["queue"] = options.get("queue", definition.queue)
            return edited(kept, fields)

        yield from self._keeper.find(name)
        yield from self._keeper.change(name, change)
        return (yield from self._info(name))

    def reset(self, name: str) -> bool:
        """Undo what was edited at run time. Whether there was anything."""
        return self._app.store.drive(self._replacing(name, edits={}))

    async def areset(self, name: str) -> bool:
        """As `reset`."""
        return await self._app.store.adrive(self._replacing(name, edits={}))

    def pause(self, name: str, reason: str = "paused") -> bool:
        """No ticks until `resume`; those that fall into the pause do not count as missed. No deployment lifts
        it. Whether that was a change.
        """
        return self._app.store.drive(self._replacing(name, paused=reason or "paused"))

    async def apause(self, name: str, reason: str = "paused") -> bool:
        """As `pause`."""
        return await self._app.store.adrive(self._replacing(name, paused=reason or "paused"))

    def resume(self, name: str) -> bool:
        """End a pause; the first tick is the next one from now. Whether there was one."""
        return self._app.store.drive(self._replacing(name, paused=""))

    async def aresume(self, name: str) -> bool:
        """As `resume`."""
        return await self._app.store.adrive(self._replacing(name, paused=""))

    def restore(self, name: str) -> bool:
        """Bring back a schedule that was removed while its source still defines it. Whether it was."""
        return self._app.store.drive(self._replacing(name, removed=False))

    async def arestore(self, name: str) -> bool:
        """As `restore`."""
        return await self._app.store.adrive(self._replacing(name, removed=False))

    def _replacing(self, name: str, **fields: Any) -> Operation[bool]:
        yield from self._keeper.find(name)
        return (
            yield from self._keeper.change(
                name, lambda record: msgspec.structs.replace(require(record, name), **fields)
            )
        )

    def remove(self, name: str) -> bool:
        """Delete a schedule; jobs that it has enqueued go on. One that code or a file defines is only marked,
        so that no deployment brings it back; `restore` does. Whether that was a change.
        """
        return self._app.store.drive(self._remove(name))

    async def aremove(self, name: str) -> bool:
        """As `remove`."""
        return await self._app.store.adrive(self._remove(name))

    def _remove(self, name: str) -> Operation[bool]:
        queue, kept = yield from self._keeper.find(name)
        info = info_of(queue, name, kept.record, kept.hands, kept.due_ms)
        if info.source:
            return (yield from self._replacing(name, removed=True))
        return (yield from self._keeper.drop(name))

    # -- running ---------------------------------------------------------------------------------------------

    def run_now(self, name: str) -> Job[Any]:
        """Enqueue a job of the schedule at once, whatever else of it runs; its ticks stay as they are."""
        return self._app.store.drive(self._run_now(name))

    async def arun_now(self, name: str) -> Job[Any]:
        """As `run_now`."""
        return await self._app.store.adrive(self._run_now(name))

    def _run_now(self, name: str) -> Operation[Job[Any]]:
        queue, kept = yield from self._keeper.find(name)
        definition = decode(kept.record or b"").definition()
        table = definition.table()
        local = f"{name}:run-{ids.new_local(kept.now_ms)}"
        entry = jobs.entry(
            definition, kept.now_ms, "manual", kept.now_ms, previous_ms=table.before(kept.now_ms),
            next_ms=table.after(kept.now_ms), local=local, end_ttl_ms=jobs.LONGEST_KEPT_MS,
        )  # fmt: skip
        yield ("SADD", self._app.store.fleet_keys.queues, queue)
        yield scheduling.tick(self._app.store.keys(queue), None, [_by_hand(definition, [entry])])
        return Job(self._app, local, queue)

    def backfill(
        self, name: str, from_: Moment, to: Moment, *, limit: int = BACKFILL_LIMIT
    ) -> list[Job[Any]]:
        """Enqueue a job for each tick from one moment up to, and not including, another, oldest first. Gives
        the new ones.

        A tick's job has the same id as if it had been on time, so what was run already, by its tick or by
        another backfill, is left alone for as long as that is on record (30 days after a backfill). Raises
        `InvalidOption` if there are more than `limit` ticks; nothing is enqueued then.
        """
        return self._app.store.drive(self._backfill(name, from_, to, limit))

    async def abackfill(
        self, name: str, from_: Moment, to: Moment, *, limit: int = BACKFILL_LIMIT
    ) -> list[Job[Any]]:
        """As `backfill`."""
        return await self._app.store.adrive(self._backfill(name, from_, to, limit))

    def _backfill(self, name: str, from_: Moment, to: Moment, limit: int) -> Operation[list[Job[Any]]]:
        queue, kept = yield from self._keeper.find(name)
        definition = decode(kept.record or b"").definition()
        table = definition.table()
        first = moment_ms(from_, "from", definition.tz)
        last = min(moment_ms(to, "to", definition.tz), kept.now_ms)
        moments = []
        for moment in between(table, first - 1, last - 1):
            moments.append(moment)
            if len(moments) > limit:
                raise InvalidOption(
                    f"backfill of {name!r}: there are more than {limit} ticks in that time; choose a shorter "
                    "one, or a higher limit"
                )
        yield ("SADD", self._app.store.fleet_keys.queues, queue)
        known, made = dict(zip(moments[1:], moments, strict=False)), []
        follow = dict(itertools.pairwise(moments))
        for batch in _slices(moments, _BACKFILL_BATCH):
            firings = []
            for moment in batch:
                entry = jobs.entry(
                    definition, moment, "backfill", kept.now_ms,
                    previous_ms=known.get(moment) or table.before(moment),
                    next_ms=follow.get(moment) or table.after(moment), end_ttl_ms=_BACKFILL_KEPT_MS,
                )  # fmt: skip
                firings.append(_by_hand(definition, [entry]))
            fired = yield scheduling.tick(self._app.store.keys(queue), None, firings)
            made += [
                Job[Any](self._app, jobs.local_of(name, moment), queue)
                for moment, (_, created) in zip(batch, fired.statuses, strict=True)
                if created
            ]
        if made:
            line = scheduling.Entry("-", moments[0], f"backfill:{len(made)}")
            yield scheduling.tick(self._app.store.keys(queue), None, [_by_hand(definition, [line])])
        return made


def _by_hand(definition: Definition, entries: Sequence[scheduling.Entry]) -> Firing:
    return Firing(
        definition.name, "none", "", "", None, None, "allow", jobs.priority_of(definition),
        definition.duration_ms, entries,
    )  # fmt: skip


def _slices(items: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (items[first : first + size] for first in range(0, len(items), size))
