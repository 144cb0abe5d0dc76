"""`Ferryman`: one configured system. It holds the registry of tasks, the settings and the connections, and is
otherwise a doorway.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from ferryman import ids, settings
from ferryman.errors import ConfigurationError, InvalidArguments, InvalidOption, UnknownTask
from ferryman.hooks import Hooks, Lifecycle, check_around
from ferryman.job import Job
from ferryman.listener import Listener
from ferryman.lookup import Lookup
from ferryman.options import CALL_ONLY, Options, TaskOptions
from ferryman.producer import Producer
from ferryman.queue import ORDERS, Order, Queue
from ferryman.retry import Retry
from ferryman.serializers import Payloads
from ferryman.shards import ShardList
from ferryman.store import Durability, Store
from ferryman.store.sync import Operation
from ferryman.task import A, AsyncTask, Registration, Scheduling, Task, check_runs, is_async, name_of
from ferryman.workers import Workers

if TYPE_CHECKING:
    from ferryman.schedules.book import Schedules
    from ferryman.schedules.defining import JobOptions, Moment, ScheduleOptions
    from ferryman.schedules.definition import Definition
    from ferryman.schedules.spans import Span

P = ParamSpec("P")
R = TypeVar("R")
L = TypeVar("L", bound=Lifecycle)


class Ferryman:
    """A configured system: ``app = Ferryman("redis://localhost:6379/0")``.

    Without a URL the setting ``FERRYMAN_URL`` says where jobs are kept. Nothing is connected before the first
    call that needs it, so an app may be made at import time. Further keyword arguments are settings, see
    `ferryman.settings`; ``retry`` is the policy of tasks that name none. Raises `ConfigurationError`.
    """

    def __init__(
        self, url: str | None = None, *, retry: Retry | int | bool | None = True, **configuration: Any
    ) -> None:
        if isinstance(configuration.get("durability"), Durability):
            configuration["durability"] = str(configuration["durability"])
        self.settings = settings.load({"url": url, **configuration})
        self.tasks: dict[str, Task[..., Any]] = {}
        self.declared: dict[str, Definition] = {}
        """Schedules that this code defines, by name; schedulers keep what is in Redis in step with them."""
        self.hooks = Hooks()
        self.payloads = Payloads.of(self.settings)
        self._orders: dict[str, Order] = {}
        self._shards: dict[str, int] = {}
        self._defaults = Options(
            queue=ids.check_queue(self.settings.default_queue),
            retry=Retry() if retry is True else Retry.of(retry),
            durability=_durability_of(self.settings.durability),
        )

    def __repr__(self) -> str:
        return f"<Ferryman {self.store.address}>"

    # Parts that reach for Redis are made at their first use, so an app that only registers tasks costs
    # nothing.

    @functools.cached_property
    def store(self) -> Store:
        """Where the jobs are kept."""
        chosen = self.settings
        return Store(
            chosen.url, prefix=chosen.prefix, timeout_s=chosen.timeout_s, patience_s=chosen.patience_s
        )

    @functools.cached_property
    def producer(self) -> Producer:
        """Hands jobs over."""
        return Producer(self)

    @functools.cached_property
    def lookup(self) -> Lookup:
        """Finds jobs."""
        return Lookup(self)

    @functools.cached_property
    def shard_list(self) -> ShardList:
        """Knows under which names queues are kept."""
        return ShardList(self)

    @functools.cached_property
    def listener(self) -> Listener:
        """Waits for results."""
        return Listener(self)

    @functools.cached_property
    def schedules(self) -> Schedules:
        """The schedules that are kept in Redis: to look at, and to change at run time."""
        from ferryman.schedules.book import Schedules

        return Schedules(self)

    def close(self) -> None:
        """Close the connections that are free. The app may be used again afterwards."""
        self.store.close()

    async def aclose(self) -> None:
        """Close the running event loop's connections."""
        await self.store.apool.close()

    # -- tasks -----------------------------------------------------------------------------------------------

    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, fn: None = None, /, *, name: str | None = None, **options: Unpack[TaskOptions]
    ) -> Registration: ...
    def task(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Register a function, sync or async, as a task: ``@app.task`` or ``@app.task(queue="mail",
        retry=Retry(5), timeout=30)``.

        The name that workers know it by is ``module:function`` unless given. Raises `ConfigurationError` for
        a name that is taken, a generator function or a parameter that cannot travel, `InvalidOption` for an
        option out of bounds.
        """

        def register(fn: Callable[..., Any]) -> Task[..., Any]:
            for option in options.keys() & CALL_ONLY:
                raise InvalidOption(
                    f"{option}= is said of one job, not of a task: task.options({option}=...).enqueue(...)"
                )
            check_runs(fn, name or name_of(fn))
            checked = self._defaults.override(**options)
            kind = AsyncTask if is_async(fn) else Task
            task = kind(self, fn, name or name_of(fn), Options(**{**_plain(checked), "given": frozenset()}))
            if "result_ttl" not in options and task.codec.returns_value:
                task.defaults = _with_result(task.defaults, self.settings.result_ttl_s)
            if task.name in self.tasks and self.tasks[task.name].fn is not fn:
                raise ConfigurationError(
                    f"task {task.name!r} is registered twice; give one of them name='...'"
                )
            self.tasks[task.name] = task
            return task

        return register if fn is None else register(fn)

    def task_for(self, task: str | Task[..., Any] | Callable[..., Any]) -> Task[..., Any]:
        """The task of that name or function. A name that is not registered here is taken on trust: a worker
        may know it.
        """
        if isinstance(task, Task):
            return task
        name = task if isinstance(task, str) else name_of(task)
        found = self.tasks.get(name)
        if found is not None:
            return found
        if not isinstance(task, str):
            raise UnknownTask(f"{name!r} is not registered with this app: decorate it with @app.task")
        if not name or len(name) > 200 or name.split() != [name]:
            raise UnknownTask(f"{name!r} is no task name: it should read like 'shop.mail:send_welcome'")
        return Task(self, _anything, name, self._defaults)

    def get_task(self, name: str) -> Task[..., Any]:
        """The registered task of that name. Raises `UnknownTask`, with the nearest name there is."""
        try:
            return self.tasks[name]
        except KeyError:
            near = difflib.get_close_matches(name, self.tasks, n=1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"there are {len(self.tasks)}; is its module imported?"
            )
            raise UnknownTask(f"no task {name!r} is registered with this app; {hint}") from None

    # -- schedules -------------------------------------------------------------------------------------------

    def schedule(
        self,
        task: str | Task[..., Any] | Callable[..., Any],
        *,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: JobOptions | None = None,
        cron: str | None = None,
        every: Span | None = None,
        at: Moment | Sequence[Moment] | None = None,
        **when: Unpack[ScheduleOptions],
    ) -> Definition:
        """Define a schedule: the task runs by itself, by ``cron=``, ``every=`` or ``at=``, once a scheduler
        is up (``ferryman scheduler``).

        Its name is the task's unless given. `options` are those of ``task.options(...)``. Nothing is sent
        here: schedulers that are started with this code keep Redis in step with it. Raises `InvalidOption`
        for an expression that is wrong, naming the field, `ConfigurationError` for an unknown zone or a name
        that is taken, and what `Task.enqueue` does for arguments.
        """
        from ferryman.schedules.defining import define

        found = define(
            self, task, name=name, args=args, kwargs=kwargs, options=options, cron=cron, every=every, at=at,
            **when,
        )  # fmt: skip
        if self.declared.setdefault(found.name, found) != found:
            raise ConfigurationError(f"schedule {found.name!r} is defined twice; give one of them name='...'")
        return found

    def cron(
        self,
        expression: str,
        *,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: JobOptions | None = None,
        **when: Unpack[ScheduleOptions],
    ) -> Scheduling:
        """Run a task by a cron expression: ``@app.cron("30 2 * * mon-fri", tz="Europe/Berlin")``, above a
        function or above ``@app.task``; as `schedule`.
        """

        def decorate(fn: Any) -> Any:
            task = fn if isinstance(fn, Task) else self.task(fn)
            self.schedule(task, name=name, args=args, kwargs=kwargs, options=options, cron=expression, **when)
            return task

        return decorate

    def every(
        self,
        interval: Span,
        *,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: JobOptions | None = None,
        **when: Unpack[ScheduleOptions],
    ) -> Scheduling:
        """Run a task at intervals: ``@app.every("15m")``, above a function or above ``@app.task``; as
        `schedule`. Intervals are counted from 1970 unless ``anchor=`` is given: ``1h`` is on the hour, UTC.
        """

        def decorate(fn: Any) -> Any:
            task = fn if isinstance(fn, Task) else self.task(fn)
            self.schedule(task, name=name, args=args, kwargs=kwargs, options=options, every=interval, **when)
            return task

        return decorate

    # -- queues and jobs -------------------------------------------------------------------------------------

    def queue(self, name: str, *, order: Order | None = None, shards: int | None = None) -> Queue:
        """A queue's handle. `order` declares in which order it is worked: ``fifo`` (default), ``lifo`` or
        ``shortest`` job first. `shards` spreads it over so many slots of a cluster, so that one queue may
        outgrow one server; its order and its priorities then hold within each shard.

        Producers and workers must declare the same, so declare it where the tasks are defined.
        """
        queue = Queue(self, name)
        if shards is not None:
            if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= ids.MOST_SHARDS:
                raise ConfigurationError(f"queue {name!r}: shards={shards!r} must be 1 to {ids.MOST_SHARDS}")
            if self._shards.setdefault(name, shards) != shards:
                raise ConfigurationError(
                    f"queue {name!r} is declared with {self._shards[name]} and {shards} shards; choose one"
                )
        if order is not None:
            if order not in ORDERS:
                raise ConfigurationError(
                    f"queue {name!r}: order {order!r} must be one of {', '.join(ORDERS)}"
                )
            if self._orders.setdefault(name, order) != order:
                raise ConfigurationError(
                    f"queue {name!r} is declared {self._orders[name]!r} and {order!r}; choose one order"
                )
        return queue

    def queue_order(self, name: str) -> Order:
        """The declared order of a queue."""
        return self._orders.get(ids.base(name), "fifo")

    def shards_of(self, queue: str) -> list[str]:
        """The names under which a queue's jobs are kept: its own, or those of its declared shards."""
        count = self._shards.get(queue, 1)
        return [queue] if count == 1 else [f"{queue}#{shard}" for shard in range(count)]

    def queues(self) -> Iterator[Queue]:
        """Every queue that was ever used, by name."""
        return iter(self.store.drive(self._queues()))

    async def aqueues(self) -> AsyncIterator[Queue]:
        """As `queues`, on the running event loop."""
        for queue in await self.store.adrive(self._queues()):
            yield queue

    def _queues(self) -> Operation[list[Queue]]:
        names = yield ("SMEMBERS", self.store.fleet_keys.queues)
        return [Queue(self, name) for name in sorted({ids.base(item.decode()) for item in names})]

    def workers(self) -> Workers:
        """The worker processes of the whole fleet: to look at, and to tell to be quiet or to stop."""
        return Workers(self)

    def job(self, job_id: str) -> Job[Any]:
        """The handle of a job from its id alone. Raises `InvalidOption` for what is no job id; asks Redis
        nothing.
        """
        local, queue = ids.split(job_id)
        return Job(self, local, queue)

    # -- hooks -----------------------------------------------------------------------------------------------

    def on_startup(self, hook: L) -> L:
        """Call this, sync or async, in each worker process before it takes its first job."""
        self.hooks.startup.append(hook)
        return hook

    def on_shutdown(self, hook: L) -> L:
        """Call this, sync or async, in each worker process after its last job."""
        self.hooks.shutdown.append(hook)
        return hook

    def around_enqueue(self, hook: A) -> A:
        """Wrap each enqueue in a generator function with one ``yield``; it is given an `EnqueueRequest` that
        it may change. An async generator function may await, and wraps the asyncio face alone.
        """
        self.hooks.around_enqueue.append(check_around(hook))
        return hook

    def around_run(self, hook: A) -> A:
        """Wrap each attempt in a generator function with one ``yield``; it is given the `JobContext`. An
        async generator function may await, and wraps async tasks alone.
        """
        self.hooks.around_run.append(check_around(hook))
        return hook

    def invalid_call(self, task: Task[..., Any], what: str) -> InvalidArguments:
        """The error for a call that cannot be made, with the task's signature."""
        return InvalidArguments(f"{task.codec.signature_text}: {what}")


def _plain(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in Options.__slots__}


def _durability_of(text: str) -> Durability | None:
    try:
        return Durability.of(text)
    except InvalidOption as error:
        raise ConfigurationError(f"setting durability: {error}") from None


def _with_result(options: Options, ttl_s: float) -> Options:
    return Options(**{**_plain(options), "result_ttl_s": ttl_s})


def _anything(*args: Any, **kwargs: Any) -> None:
    """Stands in for a task that only the workers know."""
