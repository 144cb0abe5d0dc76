"""Keeping schedules in Redis: operations of a few steps, written once for both faces.

Every change reads the record, computes where the hands stand then, and is carried out only if they have not
moved meanwhile; otherwise it looks again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ferryman.errors import FerrymanError, ScheduleNotFound, StoreError
from ferryman.schedules.definition import Definition
from ferryman.schedules.record import Hands, Record, decode, encode
from ferryman.store import scheduling
from ferryman.store.scheduling import KeptSchedule
from ferryman.store.sync import Operation

if TYPE_CHECKING:
    from ferryman.app import Ferryman

KEEP_ENDED_MS = 7 * 86_400_000
"""How long a schedule that has no more ticks is kept."""
_TRIES = 50
_TIMING = (
    "cron", "every_ms", "anchor_ms", "at_ms", "tz", "start_ms", "end_ms", "jitter_ms", "exclude",
)  # fmt: skip
Change = Callable[[Record | None], Record | None]
"""What a record is to be instead; None: as it is. Given None if there is no schedule of that name."""


class Keeper:
    """Reads and changes the schedules of one app."""

    def __init__(self, app: Ferryman) -> None:
        self._app = app

    # -- reading ---------------------------------------------------------------------------------------------

    def queue_of(self, name: str) -> Operation[str | None]:
        """The queue that a schedule is kept under."""
        found = yield ("HGET", self._app.store.fleet_keys.schedules, name)
        return None if found is None else found.decode()

    def find(self, name: str) -> Operation[tuple[str, KeptSchedule]]:
        """The schedule and its queue. Raises `ScheduleNotFound`."""
        queue = yield from self.queue_of(name)
        if queue is not None:
            kept = yield scheduling.get_schedule(self._app.store.keys(queue), name)
            if kept.record is not None:
                return queue, kept
        raise (yield from self._not_found(name))

    def _not_found(self, name: str) -> Operation[ScheduleNotFound]:
        import difflib

        known = yield ("HKEYS", self._app.store.fleet_keys.schedules)
        near = difflib.get_close_matches(name, [item.decode() for item in known[:5000]], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {len(known)}"
        return ScheduleNotFound(f"there is no schedule {name!r}; {hint}")

    # -- changing --------------------------------------------------------------------------------------------

    def change(self, name: str, change: Change) -> Operation[bool]:
        """Replace a record by what `change` makes of it. Whether that was a change."""
        for _ in range(_TRIES):
            queue = yield from self.queue_of(name)
            kept, record = None, None
            if queue is not None:
                kept = yield scheduling.get_schedule(self._app.store.keys(queue), name)
                record = None if kept.record is None else decode(kept.record)
            wanted = change(record)
            if wanted is None or wanted == record:
                return False
            if (yield from self._put(name, queue if record else None, kept, record, wanted)):
                return True
        raise StoreError(f"schedule {name!r} is being changed by others all the time; try again")

    def _put(
        self, name: str, queue: str | None, kept: KeptSchedule | None, old: Record | None, new: Record
    ) -> Operation[bool]:
        keys = self._app.store.fleet_keys
        definition = new.definition()
        target = definition.queue
        hands = Hands.read(kept.hands if kept and old else None)
        now_ms = kept.now_ms if kept else (yield from self._app.store.clock())
        expected = kept.hands.decode() if kept and kept.hands and old else ""
        created_ms = old.created_ms if old else now_ms
        new = msgspec.structs.replace(new, changed_ms=now_ms, created_ms=created_ms)
        if queue is not None and queue != target:
            # The new place is made first, and finishes the move before its first tick: at no moment is the
            # schedule nowhere, and at none does it tick in both places.
            new = msgspec.structs.replace(new, moved_from=queue)
            kept = yield scheduling.get_schedule(self._app.store.keys(target), name)
            expected = kept.hands.decode() if kept.hands else ""
        version = max(hands.version, Hands.read(expected).version) + 1
        after = Hands(version, next_tick(old, new, hands, now_ms), hands.last_ms)
        # The index first: a schedule that is kept under no known queue would be found by nobody.
        yield ("SADD", keys.scheduled_queues, target)
        if queue != target:
            yield ("HSET", keys.schedules, name, target)
        done = yield scheduling.put_schedule(
            self._app.store.keys(target), name, expected=expected, record=encode(new), hands=after.text(),
            due_ms=due_of(new, definition, after, now_ms),
        )  # fmt: skip
        if done and new.moved_from:
            yield from self.finish_move(target, name)
        yield from self.ring()
        return bool(done)

    def finish_move(self, queue: str, name: str) -> Operation[None]:
        """Delete a schedule from the queue that it was kept under before, and let it tick where it is now."""
        for _ in range(_TRIES):
            keys = self._app.store.keys(queue)
            kept = yield scheduling.get_schedule(keys, name)
            record = decode(kept.record) if kept.record else None
            if record is None or not record.moved_from:
                return
            hands, left = Hands.read(kept.hands), Hands()
            if record.moved_from != queue:
                dropped = yield scheduling.drop_schedule(self._app.store.keys(record.moved_from), name)
                left = Hands.read(dropped.hands)
            last = max(filter(None, (hands.last_ms, left.last_ms)), default=None)
            settled = msgspec.structs.replace(record, moved_from="")
            upcoming = hands.next_ms
            if upcoming is not None and last is not None and upcoming <= last:
                upcoming = settled.definition().table().after(max(last, kept.now_ms))
            after = Hands(hands.version + 1, upcoming, last)
            done = yield scheduling.put_schedule(
                keys, name, expected=hands.text(), record=encode(settled), hands=after.text(),
                due_ms=due_of(settled, settled.definition(), after, kept.now_ms),
            )  # fmt: skip
            if done:
                return

    def drop(self, name: str) -> Operation[bool]:
        """Forget a schedule wholly. Whether there was one."""
        queue = yield from self.queue_of(name)
        if queue is None:
            return False
        dropped = yield scheduling.drop_schedule(self._app.store.keys(queue), name)
        yield ("HDEL", self._app.store.fleet_keys.schedules, name)
        return dropped.hands is not None

    def ring(self) -> Operation[None]:
        """Tell the leading scheduler that something has changed. It finds out by itself a little later."""
        chime = self._app.store.fleet_keys.chime
        if not (yield ("LLEN", chime)):
            yield ("LPUSH", chime, "1")

    # -- all of them -----------------------------------------------------------------------------------------

    def queues(self) -> Operation[list[str]]:
        """The queues that schedules are kept under."""
        found = yield ("SMEMBERS", self._app.store.fleet_keys.scheduled_queues)
        return sorted(item.decode() for item in found)

    def scan(self, queue: str) -> Operation[list[tuple[str, bytes, bytes | None, int | None]]]:
        """Every schedule of a queue: name, record, hands, due; read in pages."""
        keys = self._app.store.keys(queue)
        found: dict[str, tuple[str, bytes, bytes | None, int | None]] = {}
        cursor: Any = 0
        while True:
            cursor, flat = yield ("HSCAN", keys.schedules, cursor, "COUNT", 500)
            pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
            page = list(pairs)
            if page:
                names = [name for name, _ in page]
                hands = yield ("HMGET", keys.hands, *names)
                dues = yield ("ZMSCORE", keys.ticks, *names)
                for (name, raw), stand, due in zip(page, hands, dues, strict=True):
                    text = name.decode(errors="replace")
                    found[text] = (text, raw, stand, None if due is None else int(float(due)))
            if not int(cursor):
                return sorted(found.values())


def next_tick(old: Record | None, new: Record, hands: Hands, now_ms: int) -> int | None:
    """Where the next tick is after a change. One that waits already, late as it may be, stays, unless the
    times themselves were changed.
    """
    if not new.ticks:
        return None
    definition = new.definition()
    if old is not None and old.ticks and hands.next_ms is not None and not _retimed(old, definition):
        return hands.next_ms
    return definition.table().after(max(now_ms, hands.last_ms or 0))


def _retimed(old: Record, definition: Definition) -> bool:
    try:
        before = old.definition()
    except FerrymanError:
        return True
    return any(getattr(before, name) != getattr(definition, name) for name in _TIMING)


def due_of(record: Record, definition: Definition, hands: Hands, now_ms: int) -> int | None:
    """When the schedule is to be looked at."""
    if not record.ticks:
        return None
    if hands.next_ms is None:
        return now_ms + KEEP_ENDED_MS
    return definition.table().due(hands.next_ms)


def require(record: Record | None, name: str) -> Record:
    """The record. Raises `ScheduleNotFound`."""
    if record is None:
        raise ScheduleNotFound(f"there is no schedule {name!r}")
    return record
