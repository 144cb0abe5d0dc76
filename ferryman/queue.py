"""A queue as seen from outside: how it stands, and what a person may do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Unpack

from ferryman import envelope, ids
from ferryman.errors import FerrymanError, InvalidOption
from ferryman.job import Job, at
from ferryman.options import CallOptions, Options
from ferryman.store import inspection
from ferryman.store.keys import QueueKeys
from ferryman.store.sync import Operation
from ferryman.store.transitions import BATCH

if TYPE_CHECKING:
    from ferryman.app import Ferryman
    from ferryman.task import Task

Order = Literal["fifo", "lifo", "shortest"]
ORDERS: tuple[Order, ...] = ("fifo", "lifo", "shortest")
_PLACES_OF_STATE = {
    "queued": ("ranked", "ready"),
    "scheduled": ("delayed", "retries"),
    "dead": ("dead",),
    "running": ("held",),
}
_IN_TURN = {**_PLACES_OF_STATE, "queued": ("before", "ready", "after")}
"""Places as they are listed: those of `ranked` that jump the line come before it, the others behind it."""
_RANKS = {"before": ("-inf", "(0"), "after": ("0", "+inf")}


@dataclass(frozen=True)
class QueueInfo:
    """How a queue stands at one moment."""

    name: str
    queued: int
    """Jobs that wait for a worker."""
    scheduled: int
    """Jobs that wait for their time: delays, retries, snoozes."""
    running: int
    """Jobs that workers hold."""
    dead: int
    workers: int
    """Worker processes that fetch from it."""
    paused: str | None
    """Why it is paused, or None."""
    oldest_age_s: float
    """How long the job at the head has waited; 0 for an empty queue."""
    next_due_at: datetime | None


class Queue:
    """A named place where jobs wait. ``app.queue("mail")`` makes the handle; the queue itself begins with its
    first job.
    """

    def __init__(self, app: Ferryman, name: str) -> None:
        self.app = app
        self.name = ids.check_queue(name)

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"

    @property
    def order(self) -> Order:
        """``fifo``, ``lifo`` or ``shortest``, as this app declares it."""
        return self.app.queue_order(self.name)

    # -- hand over by name -----------------------------------------------------------------------------------

    def options(self, **options: Unpack[CallOptions]) -> QueueBound:
        """Options for jobs enqueued by name: ``app.queue("mail").options(delay=60).enqueue("shop.mail:send",
        42)``.
        """
        return QueueBound(self, options)

    def enqueue(self, task: str | Task[..., Any] | Callable[..., Any], *args: Any, **kwargs: Any) -> Job[Any]:
        """Hand over a job in this queue for a task, its function, or the task's name.

        The name need not be known here: a producer without the worker's code can enqueue
        ``"shop.mail:send_welcome"``; its arguments are then checked by the worker only. Raises as
        `Task.enqueue`.
        """
        return QueueBound(self, {}).enqueue(task, *args, **kwargs)

    async def aenqueue(
        self, task: str | Task[..., Any] | Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Job[Any]:
        """As `enqueue`, on the running event loop."""
        return await QueueBound(self, {}).aenqueue(task, *args, **kwargs)

    def enqueue_many(
        self, task: str | Task[..., Any] | Callable[..., Any], calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        """Hand over one job in this queue for each tuple of positional arguments, as `Task.enqueue_many`."""
        return QueueBound(self, {}).enqueue_many(task, calls)

    async def aenqueue_many(
        self, task: str | Task[..., Any] | Callable[..., Any], calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        """As `enqueue_many`, on the running event loop."""
        return await QueueBound(self, {}).aenqueue_many(task, calls)

    # -- how it stands ---------------------------------------------------------------------------------------

    def info(self) -> QueueInfo:
        """All figures at one moment, in one round trip for each of its shards."""
        return self.app.store.drive(self._info())

    async def ainfo(self) -> QueueInfo:
        """As `info`, on the running event loop."""
        return await self.app.store.adrive(self._info())

    def _info(self) -> Operation[QueueInfo]:
        infos: list[QueueInfo] = []
        for name in (yield from self.app.shard_list.of(self.name)):
            found: inspection.Survey = yield inspection.survey(self.app.store.keys(name))
            infos.append(self._described(found))
        return infos[0] if len(infos) == 1 else _sum(infos)

    def _described(self, found: inspection.Survey) -> QueueInfo:
        age = 0.0
        if found.oldest is not None:
            try:
                age = max(found.now_ms - envelope.decode(found.oldest).enqueued_ms, 0) / 1000
            except FerrymanError:  # an envelope of a newer version, or a corrupt one: the age is not known
                age = 0.0
        return QueueInfo(
            name=self.name,
            queued=found.ready + found.ranked - found.ghosts,
            scheduled=found.delayed + found.retries,
            running=found.held,
            dead=found.dead,
            workers=found.workers,
            paused=found.paused,
            oldest_age_s=age,
            next_due_at=at(found.next_due_ms),
        )

    def __len__(self) -> int:
        """How many jobs wait for a worker now."""
        return self.info().queued

    # -- pause, purge ----------------------------------------------------------------------------------------

    def pause(self, reason: str = "paused") -> bool:
        """Workers fetch nothing more from it; jobs that run go on, new ones are taken in. Whether that is a
        change.
        """
        return self.app.store.drive(self._pause(reason or "paused"))

    async def apause(self, reason: str = "paused") -> bool:
        """As `pause`, on the running event loop."""
        return await self.app.store.adrive(self._pause(reason or "paused"))

    def resume(self) -> bool:
        """End a pause. Whether there was one."""
        return self.app.store.drive(self._pause(""))

    async def aresume(self) -> bool:
        """As `resume`, on the running event loop."""
        return await self.app.store.adrive(self._pause(""))

    def _pause(self, reason: str) -> Operation[bool]:
        changed = False
        for name in (yield from self.app.shard_list.of(self.name)):
            changed |= yield inspection.pause(self.app.store.keys(name), reason)
        return changed

    def purge(self, state: str = "queued", *, progress: Callable[[int], None] | None = None) -> int:
        """Delete the queue's jobs that are ``queued``, ``scheduled`` or ``dead``, 500 at a time. Gives their
        number.

        Jobs that run are left alone. `progress` is called with the number so far.
        """
        return self.app.store.drive(self._purge(state, progress))

    async def apurge(self, state: str = "queued", *, progress: Callable[[int], None] | None = None) -> int:
        """As `purge`, on the running event loop."""
        return await self.app.store.adrive(self._purge(state, progress))

    def _purge(self, state: str, progress: Callable[[int], None] | None) -> Operation[int]:
        if state not in ("queued", "scheduled", "dead"):
            raise InvalidOption(f"purge: state {state!r} must be 'queued', 'scheduled' or 'dead'")
        total = 0
        for name in (yield from self.app.shard_list.of(self.name)):
            keys = self.app.store.keys(name)
            for place in _PLACES_OF_STATE[state]:
                while (purged := (yield inspection.purge(keys, place))).entries:
                    total += purged.jobs
                    if progress is not None:
                        progress(total)
        return total

    # -- its jobs --------------------------------------------------------------------------------------------

    def jobs(self, state: str = "queued") -> Iterator[Job[Any]]:
        """The jobs in a state (``queued``, ``scheduled``, ``running``, ``dead``), in the order of their turn,
        read in pages; of a queue with shards, one shard after the other.

        Jobs that move while one iterates may be missed or seen twice.
        """
        _check_listed(state)
        for name in self.app.store.drive(self.app.shard_list.of(self.name)):
            for page in self._pages(name, state):
                yield from (Job(self.app, local, name) for local in self.app.store.drive(page))

    async def ajobs(self, state: str = "queued") -> AsyncIterator[Job[Any]]:
        """As `jobs`, on the running event loop."""
        _check_listed(state)
        for name in await self.app.store.adrive(self.app.shard_list.of(self.name)):
            for page in self._pages(name, state):
                for local in await self.app.store.adrive(page):
                    yield Job(self.app, local, name)

    def _pages(self, shard: str, state: str) -> Iterator[Operation[list[str]]]:
        keys = self.app.store.keys(shard)
        for place in _IN_TURN[state]:
            more = [True]
            first = 0
            while more[0]:
                yield self._held(keys, more) if place == "held" else self._page(keys, place, first, more)
                first += BATCH

    def _page(self, keys: QueueKeys, place: str, first: int, more: list[bool]) -> Operation[list[str]]:
        if place == "ready":  # the head is at the right end; a lifo queue's is at the left
            left = self.order == "lifo"
            window = (first, first + BATCH - 1) if left else (-first - BATCH, -first - 1)
            raw = yield ("LRANGE", keys.ready, *window)
            found = raw if left else raw[::-1]
            more[0] = len(found) == BATCH
            bodies = (yield ("HMGET", keys.jobs, *found)) if found else []
            return [local.decode() for local, body in zip(found, bodies, strict=True) if body is not None]
        if place in _RANKS:
            found = yield ("ZRANGEBYSCORE", keys.ranked, *_RANKS[place], "LIMIT", first, BATCH)
        else:
            found = yield ("ZRANGE", getattr(keys, place), first, first + BATCH - 1)
        more[0] = len(found) == BATCH
        return [local.decode() for local in found]

    def _held(self, keys: QueueKeys, more: list[bool]) -> Operation[list[str]]:
        more[0] = False
        locals_: list[str] = []
        for holder in (yield ("SMEMBERS", keys.holders)):
            members = yield ("SMEMBERS", keys.held(holder.decode()))
            locals_.extend(sorted(member.decode() for member in members))
        return locals_


def _check_listed(state: str) -> None:
    if state not in _IN_TURN:
        raise InvalidOption(f"jobs: state {state!r} must be one of {', '.join(_IN_TURN)}")


def _sum(infos: list[QueueInfo]) -> QueueInfo:
    """How a queue stands whose shards stand like this."""
    dues = [info.next_due_at for info in infos if info.next_due_at is not None]
    return QueueInfo(
        name=infos[0].name,
        queued=sum(info.queued for info in infos),
        scheduled=sum(info.scheduled for info in infos),
        running=sum(info.running for info in infos),
        dead=sum(info.dead for info in infos),
        workers=max(info.workers for info in infos),
        paused=next((info.paused for info in infos if info.paused is not None), None),
        oldest_age_s=max(info.oldest_age_s for info in infos),
        next_due_at=min(dues, default=None),
    )


class QueueBound:
    """A queue with the options of one call."""

    def __init__(self, queue: Queue, options: CallOptions) -> None:
        self._queue = queue
        self._options: CallOptions = {**options, "queue": queue.name}

    def enqueue(self, task: str | Task[..., Any] | Callable[..., Any], *args: Any, **kwargs: Any) -> Job[Any]:
        """As `Queue.enqueue`, with these options."""
        found, options = self._resolve(task)
        return self._queue.app.producer.submit(found, options, args, kwargs)

    async def aenqueue(
        self, task: str | Task[..., Any] | Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Job[Any]:
        """As `enqueue`, on the running event loop."""
        found, options = self._resolve(task)
        return await self._queue.app.producer.asubmit(found, options, args, kwargs)

    def enqueue_many(
        self, task: str | Task[..., Any] | Callable[..., Any], calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        """As `Queue.enqueue_many`, with these options."""
        found, options = self._resolve(task)
        return self._queue.app.producer.submit_many(found, options, calls)

    async def aenqueue_many(
        self, task: str | Task[..., Any] | Callable[..., Any], calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        """As `enqueue_many`, on the running event loop."""
        found, options = self._resolve(task)
        return await self._queue.app.producer.asubmit_many(found, options, calls)

    def _resolve(self, task: str | Task[..., Any] | Callable[..., Any]) -> tuple[Task[..., Any], Options]:
        found = self._queue.app.task_for(task)
        return found, found.defaults.override(**self._options)
