"""Handing jobs over: from a call's arguments to one script call. Both faces share all but the wait.

This is half of the hot path; the other half is a worker's. `Task.enqueue` -> `Producer.submit` ->
`payloads.pack` -> `envelope.encode` -> `transitions.enqueue` -> `Link.run`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ferryman import envelope, ids
from ferryman.errors import StoreError
from ferryman.hooks import Around, acall_around, call_around
from ferryman.job import Job
from ferryman.options import Options
from ferryman.store import transitions
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
Step = Callable[[Any], Transition[Enqueued]]


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
        self._announced: set[str] = set()
        self._durations: dict[str, tuple[float, dict[str, float]]] = {}

    # -- one job ---------------------------------------------------------------------------------------------

    def submit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        """See `Task.enqueue`."""
        hooks = self._hooks(task)
        if not hooks:
            return self._submit(task, options, args, kwargs)
        request = EnqueueRequest(task.name, args, kwargs, options)
        job: Job[Any] = call_around(
            hooks, request, lambda: self._submit(task, request.options, request.args, request.kwargs)
        )
        return job

    async def asubmit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        """See `Task.aenqueue`."""
        hooks = self._hooks(task)
        if not hooks:
            return await self._asubmit(task, options, args, kwargs)
        request = EnqueueRequest(task.name, args, kwargs, options)

        async def inner() -> Job[Any]:
            return await self._asubmit(task, request.options, request.args, request.kwargs)

        job: Job[Any] = await acall_around(hooks, request, inner)
        return job

    def _submit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        if options.queue not in self._announced:
            self._store.drive(self._announce(options.queue))
        now_ms = self._store.server_ms()
        local = options.local or ids.new_local(now_ms)
        body = self._envelope(task, options, args, kwargs, now_ms)
        self._store.run(self._step(task, options, [local, body]))
        return Job(self._app, local, options.queue, options.result_ttl_s > 0)

    async def _asubmit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        if options.queue not in self._announced:
            await self._store.adrive(self._announce(options.queue))
        now_ms = await self._store.aserver_ms()
        local = options.local or ids.new_local(now_ms)
        body = self._envelope(task, options, args, kwargs, now_ms)
        await self._store.arun(self._step(task, options, [local, body]))
        return Job(self._app, local, options.queue, options.result_ttl_s > 0)

    # -- many ------------------------------------------------------------------------------------------------

    def submit_many(
        self, task: Task[..., Any], options: Options, calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        """See `Task.enqueue_many`."""
        if self._hooks(task):
            return [self.submit(task, options, args, {}) for args in self._checked(task, options, calls)]
        if options.queue not in self._announced:
            self._store.drive(self._announce(options.queue))
        bodies = self._envelopes(task, options, self._checked(task, options, calls), self._store.server_ms())
        jobs: list[Job[Any]] = []
        for locals_, batch in self._batches(bodies, options, self._store.server_ms()):
            try:
                self._store.run(self._step(task, options, batch))
            except StoreError as error:
                raise _after(error, len(jobs)) from error
            jobs += self._handles(locals_, options)
        return jobs

    async def asubmit_many(
        self, task: Task[..., Any], options: Options, calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        """See `Task.aenqueue_many`."""
        if self._hooks(task):
            return [
                await self.asubmit(task, options, args, {}) for args in self._checked(task, options, calls)
            ]
        if options.queue not in self._announced:
            await self._store.adrive(self._announce(options.queue))
        now_ms = await self._store.aserver_ms()
        bodies = self._envelopes(task, options, self._checked(task, options, calls), now_ms)
        jobs: list[Job[Any]] = []
        for locals_, batch in self._batches(bodies, options, now_ms):
            try:
                await self._store.arun(self._step(task, options, batch))
            except StoreError as error:
                raise _after(error, len(jobs)) from error
            jobs += self._handles(locals_, options)
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

    @staticmethod
    def _batches(
        bodies: list[bytes], options: Options, now_ms: int
    ) -> Iterable[tuple[list[str], list[str | bytes]]]:
        locals_ = ids.new_locals(now_ms, len(bodies)) if options.local is None else [options.local]
        first = 0
        while first < len(bodies):
            size = BATCH
            while size > 1 and sum(map(len, bodies[first : first + size])) > _BATCH_BYTES:
                size //= 2
            chosen = locals_[first : first + size]
            batch: list[str | bytes] = [b""] * (2 * len(chosen))
            batch[::2] = chosen
            batch[1::2] = bodies[first : first + size]
            yield chosen, batch
            first += size

    def _handles(self, locals_: list[str], options: Options) -> list[Job[Any]]:
        app, queue, keeps = self._app, options.queue, options.result_ttl_s > 0
        return [Job(app, local, queue, keeps) for local in locals_]

    # -- what both faces share -------------------------------------------------------------------------------

    def _hooks(self, task: Task[..., Any]) -> list[Around]:
        mine, own = self._app.hooks.around_enqueue, task.hooks.around_enqueue
        return mine + own if mine or own else mine

    def _envelope(
        self,
        task: Task[..., Any],
        options: Options,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        now_ms: int,
    ) -> bytes:
        packed_args, packed_kwargs, marks = self._app.payloads.pack(task.codec, args, kwargs)
        wire = (
            options.to_wire(now_ms)
            if options.given or options.expires_s is not None or options.priority
            else None
        )
        if marks:
            wire = {**(wire or {}), **marks}
        keywords = envelope.NO_KWARGS if packed_kwargs is None else msgspec.Raw(packed_kwargs)
        return envelope.encode(
            envelope.Envelope(envelope.VERSION, task.name, msgspec.Raw(packed_args), keywords, now_ms, wire)
        )

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

    def _step(self, task: Task[..., Any], options: Options, jobs: Sequence[str | bytes]) -> Step:
        keys = self._store.keys(options.queue)
        chosen, due, priority = options.local is not None, options.due(), options.priority or None
        cost = (
            self._cost_ms(task, options, keys) if self._app.queue_order(options.queue) == "shortest" else None
        )

        def step(lane: Any) -> Transition[Enqueued]:
            return transitions.enqueue(
                keys,
                lane.name,
                lane.next_seq(),
                jobs,
                chosen=chosen,
                due=due,
                priority=priority,
                cost_ms=cost,
            )

        return step

    def _announce(self, queue: str) -> Operation[None]:
        """Put the queue's name on the list of queues, once a process."""
        yield ("SADD", self._store.fleet_keys.queues, queue)
        self._announced.add(queue)

    def _cost_ms(self, task: Task[..., Any], options: Options, keys: QueueKeys) -> float:
        """How long the job will probably run: as declared, else as workers measured it, else a second."""
        if options.duration_s is not None:
            return options.duration_s * 1000
        read_at, known = self._durations.get(options.queue, (float("-inf"), {}))
        if time.monotonic() - read_at > _DURATIONS_FRESH_S:
            flat = self._store.pool.command("HGETALL", keys.durations)
            items = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
            known = {name.decode(): int(micros) / 1000 for name, micros in items}
            self._durations[options.queue] = (time.monotonic(), known)
        return known.get(task.name, _UNKNOWN_DURATION_MS)


def _after(error: StoreError, enqueued: int) -> StoreError:
    """The same error, saying how far a bulk enqueue had come."""
    found = type(error)(f"{error} ({enqueued} jobs of this call were handed over before that)")
    found.enqueued = enqueued
    return found
