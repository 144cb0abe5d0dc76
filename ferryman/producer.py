"""Handing jobs over: from a call's arguments to one script call. Both faces share all but the wait.

This is half of the hot path; the other half is a worker's. `Task.enqueue` -> `Producer.submit` ->
`payloads.pack` -> `envelope.encode` -> `transitions.enqueue` -> `Pool.run` -> `Link.run`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ferryman import envelope, ids
from ferryman.errors import NotDurable, StoreError
from ferryman.hooks import Around, acall_around, call_around
from ferryman.job import Job
from ferryman.options import Options
from ferryman.routes import Route
from ferryman.store import layout, transitions
from ferryman.store.keys import QueueKeys
from ferryman.store.sync import Operation
from ferryman.store.transitions import BATCH, Enqueued, Transition

if TYPE_CHECKING:
    from ferryman.app import Ferryman
    from ferryman.task import Task

_DURATIONS_FRESH_S = 5.0
_UNKNOWN_DURATION_MS = 1000.0
_BATCH_BYTES = 4 * 1024 * 1024
"""A larger call would keep Redis from others for too long, and 500 jobs of a megabyte fit no buffer."""
Handed = tuple[Job[Any], Transition[Enqueued]]


@dataclass(slots=True)
class EnqueueRequest:
    """What an ``around_enqueue`` hook sees, and may change before it yields."""

    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: Options


class Producer:
    """Hands over the jobs of one app."""

    def __init__(self, app: Ferryman) -> None:
        self._app = app
        self._store = app.store
        self._routes: dict[str, Route] = {}
        self._durations: dict[str, tuple[float, dict[str, float]]] = {}

    # -- one job ---------------------------------------------------------------------------------------------

    def submit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        """See `Task.enqueue`."""
        if not self._app.hooks.around_enqueue and not task.hooks.around_enqueue:
            return self._submit(task, options, args, kwargs)
        request = EnqueueRequest(task.name, args, kwargs, options)
        job: Job[Any] = call_around(
            self._hooks(task),
            request,
            lambda: self._submit(task, request.options, request.args, request.kwargs),
        )
        return job

    async def asubmit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        """See `Task.aenqueue`."""
        if not self._app.hooks.around_enqueue and not task.hooks.around_enqueue:
            return await self._asubmit(task, options, args, kwargs)
        request = EnqueueRequest(task.name, args, kwargs, options)

        async def inner() -> Job[Any]:
            return await self._asubmit(task, request.options, request.args, request.kwargs)

        job: Job[Any] = await acall_around(self._hooks(task), request, inner)
        return job

    def _submit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        route = self._routes.get(options.queue)
        if route is None:
            route = self._store.drive(self._open(options.queue))
        if route.shortest:
            self._store.drive(self._learn_durations(route))
        job, step = self._consign(task, options, args, kwargs, route, self._store.server_ms())
        try:
            self._store.pool.run(step, options.durability)
        except NotDurable as error:
            raise _of([job], error) from error
        return job

    async def _asubmit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        route = self._routes.get(options.queue)
        if route is None:
            route = await self._store.adrive(self._open(options.queue))
        if route.shortest:
            await self._store.adrive(self._learn_durations(route))
        job, step = self._consign(task, options, args, kwargs, route, await self._store.aserver_ms())
        try:
            await self._store.apool.run(step, options.durability)
        except NotDurable as error:
            raise _of([job], error) from error
        return job

    def _consign(
        self,
        task: Task[..., Any],
        options: Options,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        route: Route,
        now_ms: int,
    ) -> Handed:
        """The job's handle, and the step that hands it over."""
        packed_args, packed_kwargs, marks = self._app.payloads.pack(task.codec, args, kwargs)
        wire = (
            options.to_wire(now_ms)
            if options.given or options.expires_s is not None or options.priority
            else None
        )
        if marks:
            wire = {**(wire or {}), **marks}
        body = envelope.encode(
            envelope.Envelope(
                envelope.VERSION,
                task.name,
                msgspec.Raw(packed_args),
                envelope.NO_KWARGS if packed_kwargs is None else msgspec.Raw(packed_kwargs),
                now_ms,
                wire,
            )
        )
        keys = route.only or route.pick(options.local)
        local = options.local or ids.new_local(now_ms)
        step = transitions.enqueue(
            keys,
            "",
            0,
            (local, body),
            chosen=options.local is not None,
            due=options.due() if options.delay_s or options.at_ms is not None else "",
            priority=options.priority or None,
            cost_ms=self._cost_ms(task, options) if route.shortest else None,
        )
        return Job(self._app, local, keys.queue, options.result_ttl_s > 0), step

    # -- many ------------------------------------------------------------------------------------------------

    def submit_many(
        self, task: Task[..., Any], options: Options, calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        """See `Task.enqueue_many`."""
        if self._hooks(task):
            return [self.submit(task, options, args, {}) for args in self._checked(task, options, calls)]
        route = self._routes.get(options.queue)
        if route is None:
            route = self._store.drive(self._open(options.queue))
        if route.shortest:
            self._store.drive(self._learn_durations(route))
        now_ms = self._store.server_ms()
        bodies = self._envelopes(task, options, self._checked(task, options, calls), now_ms)
        jobs: list[Job[Any]] = []
        try:
            with self._store.pool.together(options.durability) as run:
                for handles, step in self._batches(task, options, bodies, route, now_ms):
                    run(step)
                    jobs += handles
        except StoreError as error:
            raise _after(error, jobs) from error
        return jobs

    async def asubmit_many(
        self, task: Task[..., Any], options: Options, calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        """See `Task.aenqueue_many`."""
        if self._hooks(task):
            return [
                await self.asubmit(task, options, args, {}) for args in self._checked(task, options, calls)
            ]
        route = self._routes.get(options.queue)
        if route is None:
            route = await self._store.adrive(self._open(options.queue))
        if route.shortest:
            await self._store.adrive(self._learn_durations(route))
        now_ms = await self._store.aserver_ms()
        bodies = self._envelopes(task, options, self._checked(task, options, calls), now_ms)
        jobs: list[Job[Any]] = []
        try:
            async with self._store.apool.together(options.durability) as run:
                for handles, step in self._batches(task, options, bodies, route, now_ms):
                    await run(step)
                    jobs += handles
        except StoreError as error:
            raise _after(error, jobs) from error
        return jobs

    def _checked(
        self, task: Task[..., Any], options: Options, calls: Iterable[tuple[Any, ...]]
    ) -> Sequence[tuple[Any, ...]]:
        found = calls if isinstance(calls, list) else list(calls)
        for args in found:
            if type(args) is not tuple:
                raise self._app.invalid_call(
                    task, f"enqueue_many takes tuples of positional arguments, not {type(args).__name__}"
                )
        if options.local is not None and len(found) > 1:
            raise self._app.invalid_call(
                task, "one id= cannot name several jobs; enqueue them one by one with their own ids"
            )
        return found

    def _batches(
        self, task: Task[..., Any], options: Options, bodies: list[bytes], route: Route, now_ms: int
    ) -> Iterable[tuple[list[Job[Any]], Transition[Enqueued]]]:
        """The calls of a bulk enqueue: the handles of each one's jobs, and its step."""
        locals_ = ids.new_locals(now_ms, len(bodies)) if options.local is None else [options.local]
        app, keeps = self._app, options.result_ttl_s > 0
        cost_ms = self._cost_ms(task, options) if route.shortest else None
        first = 0
        while first < len(bodies):
            size = BATCH
            while size > 1 and sum(map(len, bodies[first : first + size])) > _BATCH_BYTES:
                size //= 2
            chosen = locals_[first : first + size]
            batch: list[str | bytes] = [b""] * (2 * len(chosen))
            batch[::2] = chosen
            batch[1::2] = bodies[first : first + size]
            keys = route.only or route.pick(options.local)
            step = transitions.enqueue(
                keys,
                "",
                0,
                batch,
                chosen=options.local is not None,
                due=options.due(),
                priority=options.priority or None,
                cost_ms=cost_ms,
            )
            yield [Job(app, local, keys.queue, keeps) for local in chosen], step
            first += size

    # -- what both faces share -------------------------------------------------------------------------------

    def _hooks(self, task: Task[..., Any]) -> list[Around]:
        mine, own = self._app.hooks.around_enqueue, task.hooks.around_enqueue
        return mine + own if mine or own else mine

    def _envelopes(
        self, task: Task[..., Any], options: Options, calls: Sequence[tuple[Any, ...]], now_ms: int
    ) -> list[bytes]:
        """All envelopes of a bulk enqueue, so that a call which cannot travel is refused before the first is
        sent.
        """
        wire = options.to_wire(now_ms)
        make, encode, raw, version, name, none = (
            envelope.Envelope, envelope.encode, msgspec.Raw, envelope.VERSION, task.name, envelope.NO_KWARGS,
        )  # fmt: skip
        return [
            encode(
                make(version, name, raw(packed), none, now_ms, {**(wire or {}), **marks} if marks else wire)
            )
            for packed, marks in self._app.payloads.pack_many(task.codec, calls)
        ]

    def _open(self, queue: str) -> Operation[Route]:
        """The way to a queue, made once a process: its name goes on the list of queues. Before the first, see
        whether this release may share the keys.
        """
        if not self._routes:
            yield from layout.checking(self._store.fleet_keys)
        route = Route.to(self._app, queue)
        yield ("SADD", self._store.fleet_keys.queues, *(keys.queue for keys in route.shards))
        self._routes[queue] = route
        return route

    def _learn_durations(self, route: Route) -> Operation[None]:
        """How long jobs take, as workers have measured it; looked up now and then."""
        keys: QueueKeys = route.shards[0]
        queue = ids.base(keys.queue)
        read_at, _ = self._durations.get(queue, (float("-inf"), {}))
        if time.monotonic() - read_at > _DURATIONS_FRESH_S:
            flat = yield ("HGETALL", keys.durations)
            items = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
            known = {name.decode(): int(micros) / 1000 for name, micros in items}
            self._durations[queue] = (time.monotonic(), known)

    def _cost_ms(self, task: Task[..., Any], options: Options) -> float:
        """How long the job will probably run: as declared, else as workers measured it, else a second."""
        if options.duration_s is not None:
            return options.duration_s * 1000
        _, known = self._durations.get(options.queue, (0.0, {}))
        return known.get(task.name, _UNKNOWN_DURATION_MS)


def _after(error: StoreError, jobs: list[Job[Any]]) -> StoreError:
    """The same error, saying how far a bulk enqueue had come."""
    if isinstance(error, NotDurable):
        return _of(jobs, error)
    found = type(error)(f"{error} ({len(jobs)} jobs of this call were handed over before that)")
    found.enqueued = len(jobs)
    return found


def _of(jobs: list[Job[Any]], error: NotDurable) -> NotDurable:
    """The same error, saying of which jobs."""
    who = f"job {jobs[0].id}" if len(jobs) == 1 else f"{len(jobs)} jobs"
    found = NotDurable(
        f"{who}: {error}. It may run all the same; to be sure, enqueue again under the same id, which is safe"
    )
    found.enqueued = len(jobs)
    found.job_ids = tuple(job.id for job in jobs)
    return found
