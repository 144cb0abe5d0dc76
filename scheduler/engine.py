"""The scheduler without its process: one turn asks for the lease, looks ahead, fires what is due, and says
how long there is nothing to do. It owns no thread and never sleeps, so a test can drive it and its clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ferryman.errors import FerrymanError, StoreError, StoreUnavailable
from ferryman.scheduler.clock import ServerClock
from ferryman.scheduler.firing import firing, following, owed_firing
from ferryman.scheduler.lease import Lease
from ferryman.scheduler.overtaking import cancel_overtaken
from ferryman.scheduler.prospect import AHEAD_MS, Moving, Over, Prospect, Ready, ready
from ferryman.schedules import history
from ferryman.schedules.keeping import Keeper
from ferryman.schedules.record import decode
from ferryman.store import Link, scheduling
from ferryman.store.scheduling import FIRE_LIMIT, LOOK_LIMIT, Coming, Firing
from ferryman.store.sync import Operation, drive

if TYPE_CHECKING:
    from ferryman.app import Ferryman

logger = logging.getLogger("ferryman.scheduler")
R = TypeVar("R")

OWED_LOOK_MS = 250.0
"""While a tick waits for the run before it: how often that is looked at."""
PUT_OFF_MS = 60_000
"""A schedule that cannot be read here is looked at again so much later."""
_REST_MS = 1000.0
_PREPARE_NS = 5_000_000
_CANCEL_AT_ONCE = 20
_CALL_BYTES = 4 * 1024 * 1024
_MOST_PAGES = 50


class Engine:
    """One scheduler of an app: leads, or waits to lead."""

    def __init__(
        self, app: Ferryman, link: Link, lease: Lease, clock: ServerClock, *,
        cancel: Callable[[Ferryman, str, str], None] = cancel_overtaken,
    ) -> None:  # fmt: skip
        self.lease = lease
        self._app, self._link, self._clock, self._cancel = app, link, clock, cancel
        self._keeper = Keeper(app)
        self._prospects: dict[str, Prospect] = {}
        self._owed_at_ms = 0.0
        self._told: set[tuple[str, str]] = set()

    @property
    def leads(self) -> bool:
        """Whether this scheduler believes that it leads."""
        return self.lease.holds()

    def turn(self) -> float:
        """Do what is due; how many ms from now the next turn is needed. Raises `StoreUnavailable`."""
        if self.lease.wait_ms() <= 0:
            self._ask()
        if not self.lease.holds():
            self.forget()
            return self.lease.wait_ms()
        for prospect in list(self._prospects.values()):
            self._guarded(prospect, self._serve)
        prepared_all = self._prepare_some()
        return self._pause_ms() if prepared_all else 0.0

    def bell_rang(self) -> None:
        """Something was changed: look at once."""
        for prospect in self._prospects.values():
            prospect.stale = True
        self.lease.ask_now()

    def forget(self) -> None:
        """Trust nothing that was read: the connection was lost, or somebody else leads."""
        self._prospects.clear()

    # -- leading ---------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        asked = self._clock.mono_ms()
        self._clock.learn(self.lease.ask(self._link), asked)
        if not self.lease.token:
            return
        queues = self._drive(self._keeper.queues())
        for queue in set(self._prospects) - set(queues):
            del self._prospects[queue]
        for queue in queues:
            if queue not in self._prospects:
                self._link.command("SADD", self._app.store.fleet_keys.queues, queue)
                self._prospects[queue] = Prospect(self._app.store.keys(queue))

    def _pause_ms(self) -> float:
        now = self._clock.now_ms()
        moments = [now + self.lease.wait_ms()]
        for prospect in self._prospects.values():
            moments.append(prospect.next_look_ms(now))
            if now >= prospect.resting_until_ms:
                moments.append(prospect.next_due_ms())
            if prospect.owed:
                moments.append(self._owed_at_ms)
            if prospect.overtaken:
                moments.append(now)
        return max(min(moments) - now, 0.0)

    def _guarded(self, prospect: Prospect, step: Callable[[Prospect], None]) -> None:
        """Do something for one queue; an error there stops no other."""
        try:
            step(prospect)
        except StoreUnavailable:
            raise
        except StoreError as error:
            prospect.forget()
            prospect.resting_until_ms = self._clock.now_ms() + _REST_MS
            self._tell_once(prospect.keys.queue, type(error).__name__, "schedules of queue %s: %s", error)

    # -- one queue -------------------------------------------------------------------------------------------

    def _serve(self, prospect: Prospect) -> None:
        now = self._clock.now_ms()
        if now < prospect.resting_until_ms:
            return
        if prospect.next_due_ms() <= now:  # what is ready goes first
            self._fire(prospect, prospect.due(now))
        if prospect.wants_look(self._clock.now_ms()):
            self._look(prospect)
        self._read(prospect, late_only=True)
        due = prospect.due(self._clock.now_ms())
        if due:
            self._fire(prospect, due)
        if prospect.owed and self._clock.now_ms() >= self._owed_at_ms:
            self._settle_owed(prospect)
        if prospect.overtaken:
            self._cancel_overtaken(prospect)

    def _look(self, prospect: Prospect) -> None:
        pages: list[scheduling.Outlook] = []
        while len(pages) < _MOST_PAGES:
            asked = self._clock.mono_ms()
            page = self._link.run(
                scheduling.look(prospect.keys, self.lease.token, AHEAD_MS, skip=len(pages) * LOOK_LIMIT)
            )
            if page.deposed:
                self._deposed()
                return
            if not pages:
                self._clock.learn(page.now_ms, asked)
            pages.append(page)
            if len(page.coming) < LOOK_LIMIT:
                break
        prospect.refresh(pages, pages[0].now_ms)

    def _deposed(self) -> None:
        self.lease.lost()
        self.forget()

    def _read(self, prospect: Prospect, *, late_only: bool, until_ns: float = float("inf")) -> bool:
        """Read records that a look has brought; whether all that were to be read are. `late_only`: those
        whose moment has come.
        """
        put_off: list[Coming] = []
        now = self._clock.now_ms()
        while prospect.unread and time.monotonic_ns() < until_ns:
            if late_only and prospect.unread[0].due_ms > now:
                break
            coming = prospect.unread.popleft()
            try:
                entry = ready(coming)
            except Over:
                self._bury(prospect, coming)
            except Moving:
                self._drive(self._keeper.finish_move(prospect.keys.queue, coming.name))
                prospect.stale = True
            except FerrymanError as error:
                self._tell_once(coming.name, str(coming.hands), "schedule %s has no ticks here: %s", error)
                put_off.append(coming)
            else:
                self._check_task(entry)
                prospect.add(entry)
                prospect.await_preparation(entry)
        if put_off:
            self._put_off(prospect, [(coming.name, coming.due_ms) for coming in put_off])
        return not prospect.unread

    def _put_off(self, prospect: Prospect, ticks: Sequence[tuple[str, int]]) -> None:
        self._link.run(scheduling.put_off(prospect.keys, self.lease.token, PUT_OFF_MS, ticks))

    def _bury(self, prospect: Prospect, coming: Coming) -> None:
        expected = coming.hands.decode() if coming.hands else ""
        dropped = self._link.run(scheduling.drop_schedule(prospect.keys, coming.name, expected))
        if dropped.done:
            self._link.command("HDEL", self._app.store.fleet_keys.schedules, coming.name)

    # -- firing ----------------------------------------------------------------------------------------------

    def _prepare_some(self) -> bool:
        """Make jobs in advance for a few milliseconds; whether all are made."""
        until = time.monotonic_ns() + _PREPARE_NS
        done = True
        for prospect in self._prospects.values():
            done = self._read(prospect, late_only=False, until_ns=until) and done
            while time.monotonic_ns() < until:
                entry = prospect.unprepared()
                if entry is None:
                    break
                self._prepare(prospect, entry)
            else:
                return False
        return done

    def _prepare(self, prospect: Prospect, entry: Ready) -> None:
        if entry.definition.unless_fresh_ms:
            return  # that is known at the due moment only
        try:
            entry.firing = firing(entry, entry.due_ms)
        except Exception as error:  # noqa: BLE001 (one schedule's fault is no other's)
            self._tell_once(entry.name, entry.hands.text(), "schedule %s cannot be planned: %s", error)
            self._put_off(prospect, [(entry.name, entry.due_ms)])

    def _fire(self, prospect: Prospect, due: Sequence[Ready]) -> None:
        now = int(self._clock.now_ms())
        pairs: list[tuple[Ready, Firing]] = []
        for entry in due:
            try:
                pairs.append((entry, self._firing(prospect, entry, now)))
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 (one schedule's fault is no other's)
                self._tell_once(entry.name, entry.hands.text(), "schedule %s cannot be planned: %s", error)
                self._put_off(prospect, [(entry.name, entry.due_ms)])
        for batch in _batches(pairs):
            self._fire_batch(prospect, batch)
            if not self.lease.token:
                return

    def _firing(self, prospect: Prospect, entry: Ready, now_ms: int) -> Firing:
        prepared = entry.firing
        if (
            prepared is not None
            and now_ms - entry.due_ms <= entry.definition.grace_ms
            and (prepared.next_due_ms is None or prepared.next_due_ms > now_ms)
        ):
            return prepared
        fresh_ms = entry.definition.unless_fresh_ms
        fresh = False
        if fresh_ms:
            success = self._drive(history.last_success(prospect.keys, entry.name))
            fresh = success is not None and now_ms - success < fresh_ms
        return firing(entry, max(now_ms, entry.due_ms), fresh=fresh)

    def _fire_batch(self, prospect: Prospect, batch: Sequence[tuple[Ready, Firing]]) -> None:
        asked = self._clock.mono_ms()
        fired = self._link.run(scheduling.tick(prospect.keys, self.lease.token, [step for _, step in batch]))
        self._clock.learn(fired.now_ms, asked)
        if fired.deposed:
            self._deposed()
            return
        for (entry, step), (status, _) in zip(batch, fired.statuses, strict=True):
            if status == "early":
                prospect.add(entry)
            elif status == "stale":
                prospect.stale = True
            else:
                self._fired(prospect, entry, step, status)

    def _fired(self, prospect: Prospect, entry: Ready, step: Firing, status: str) -> None:
        if status == "owed":
            prospect.owed.setdefault(entry.name, entry.nominal_ms)
        if entry.definition.overlap == "cancel_running":
            prospect.stale = True  # the next look tells whom it has overtaken
        after = following(entry, step)
        if after is not None and after.due_ms <= prospect.covered_ms:
            prospect.add(after)
            prospect.await_preparation(after)

    # -- what is left of ticks before ------------------------------------------------------------------------

    def _settle_owed(self, prospect: Prospect) -> None:
        """Fire ticks that waited for the run before them, where that has ended."""
        now = int(self._clock.now_ms())
        for name, nominal_ms in list(prospect.owed.items()):
            kept = self._link.run(scheduling.get_schedule(prospect.keys, name))
            if kept.owed_ms != nominal_ms or kept.record is None:
                del prospect.owed[name]
                prospect.stale = True
                continue
            step = owed_firing(decode(kept.record).definition(), nominal_ms, now)
            fired = self._link.run(scheduling.tick(prospect.keys, self.lease.token, [step]))
            if fired.deposed:
                self._deposed()
                return
            if fired.statuses[0][0] != "waiting":
                del prospect.owed[name]
        self._owed_at_ms = self._clock.now_ms() + OWED_LOOK_MS

    def _cancel_overtaken(self, prospect: Prospect) -> None:
        for local in list(prospect.overtaken)[:_CANCEL_AT_ONCE]:
            self._cancel(self._app, prospect.keys.queue, local)
            self._link.command("SREM", prospect.keys.overtaken, local)
            prospect.overtaken.discard(local)

    # -- small things ----------------------------------------------------------------------------------------

    def _check_task(self, entry: Ready) -> None:
        task = entry.definition.task
        if self._app.tasks and task not in self._app.tasks:
            self._tell_once(
                entry.name, task,
                "schedule %s: %s; its jobs are enqueued, for a worker that may know it",
                f"no task {task!r} is registered with this app",
            )  # fmt: skip

    def _tell_once(self, name: str, what: str, message: str, *words: Any) -> None:
        if (name, what) not in self._told:
            if len(self._told) > 10_000:
                self._told.clear()
            self._told.add((name, what))
            logger.error(message, name, *words)

    def _drive(self, operation: Operation[R]) -> R:
        """Run an operation over this scheduler's own connection."""
        return drive(self._link, operation)


def _batches(pairs: Sequence[tuple[Ready, Firing]]) -> Iterator[list[tuple[Ready, Firing]]]:
    """Parts that one script call takes: bounded in jobs and in bytes."""
    batch: list[tuple[Ready, Firing]] = []
    jobs = size = 0
    for pair in pairs:
        entries = pair[1].entries
        weight = sum(len(entry.envelope) for entry in entries)
        if batch and (jobs + len(entries) > FIRE_LIMIT or size + weight > _CALL_BYTES):
            yield batch
            batch, jobs, size = [], 0, 0
        batch.append(pair)
        jobs, size = jobs + len(entries), size + weight
    if batch:
        yield batch
