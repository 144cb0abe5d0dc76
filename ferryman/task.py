"""A registered callable and how it is handed over: ``task.enqueue(...)`` takes what the function takes, and
no more.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, Unpack, overload

from ferryman.arguments import ArgumentCodec
from ferryman.errors import ConfigurationError
from ferryman.hooks import Around, Hooks, check_around
from ferryman.job import Job
from ferryman.options import CallOptions, Options

if TYPE_CHECKING:
    from ferryman.app import Ferryman

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=Around)


class Task(Generic[P, R]):
    """A callable that workers may run. Calling it runs it here and now, as if it were not decorated."""

    def __init__(self, app: Ferryman, fn: Callable[P, R], name: str, options: Options) -> None:
        self.app = app
        self.fn = fn
        self.name = name
        self.defaults = options
        self.codec = ArgumentCodec(fn, name=name, carries_objects=app.payloads.carries_objects)
        self.is_async = is_async(fn)
        self.hooks = Hooks()
        self.__doc__ = fn.__doc__
        self.__name__ = getattr(fn, "__name__", name)
        self.__wrapped__ = fn

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def options(self, **options: Unpack[CallOptions]) -> Bound[P, R]:
        """The same task with options for one call: ``task.options(delay=60, priority=5).enqueue(42)``. Raises
        `InvalidOption`.
        """
        return Bound(self, self.defaults.override(**options))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Hand a job over. Once this returns, the job is Redis's and survives this process.

        Raises `InvalidArguments` or `PayloadTooLarge` before anything is sent; `StoreFull`;
        `StoreUnavailable` if Redis does not answer within the app's patience: then the job may or may not
        have been enqueued, and with ``options(id=...)`` a retry is safe.
        """
        return self.app.producer.submit(self, self.defaults, args, kwargs)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """As `enqueue`, on the running event loop."""
        return await self.app.producer.asubmit(self, self.defaults, args, kwargs)

    def enqueue_many(self, calls: Iterable[tuple[Any, ...]]) -> list[Job[R]]:
        """Hand over one job for each tuple of positional arguments, in order, 500 a round trip; one
        by one where hooks are around an enqueue.

        Every call is checked before the first is sent. Raises as `enqueue`; if Redis goes away midway, the
        error's ``enqueued`` says how many were handed over.
        """
        return self.app.producer.submit_many(self, self.defaults, calls)

    async def aenqueue_many(self, calls: Iterable[tuple[Any, ...]]) -> list[Job[R]]:
        """As `enqueue_many`, on the running event loop."""
        return await self.app.producer.asubmit_many(self, self.defaults, calls)

    def around_run(self, hook: A) -> A:
        """Register a generator function that wraps each attempt of this task. Inside the app's own hooks."""
        self.hooks.around_run.append(check_around(hook))
        return hook

    def around_enqueue(self, hook: A) -> A:
        """Register a generator function that wraps each enqueue of this task. Inside the app's own hooks."""
        self.hooks.around_enqueue.append(check_around(hook))
        return hook


class AsyncTask(Task[P, R]):
    """A task made of an ``async def``: calling it gives the coroutine, and its jobs result in what that
    returns.
    """

    if TYPE_CHECKING:

        def __call__(  # type: ignore[override]
            self, *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[Any, Any, R]: ...


class Registration(Protocol):
    """What ``@app.task(...)`` decorates with."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


class Scheduling(Protocol):
    """What ``@app.cron(...)`` and ``@app.every(...)`` decorate with: a task, or a function to become one."""

    @overload
    def __call__(self, task: AsyncTask[P, R], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, task: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, task: Task[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, task: Callable[P, R], /) -> Task[P, R]: ...


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling `fn` gives a coroutine."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def check_runs(fn: Callable[..., Any], name: str) -> None:
    """Refuse what does nothing when it is called. Raises `ConfigurationError`."""
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigurationError(
            f"task {name!r} is a generator function, of which a call runs nothing: take its 'yield' away, "
            "or iterate it in a function of its own"
        )


class Bound(Generic[P, R]):
    """A task with the options of one call."""

    __slots__ = ("_options", "_task")

    def __init__(self, task: Task[P, R], options: Options) -> None:
        self._task = task
        self._options = options

    def options(self, **options: Unpack[CallOptions]) -> Bound[P, R]:
        """More options on top of these."""
        return Bound(self._task, self._options.override(**options))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """As `Task.enqueue`, with these options."""
        return self._task.app.producer.submit(self._task, self._options, args, kwargs)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """As `enqueue`, on the running event loop."""
        return await self._task.app.producer.asubmit(self._task, self._options, args, kwargs)

    def enqueue_many(self, calls: Iterable[tuple[Any, ...]]) -> list[Job[R]]:
        """As `Task.enqueue_many`, with these options."""
        return self._task.app.producer.submit_many(self._task, self._options, calls)

    async def aenqueue_many(self, calls: Iterable[tuple[Any, ...]]) -> list[Job[R]]:
        """As `enqueue_many`, on the running event loop."""
        return await self._task.app.producer.asubmit_many(self._task, self._options, calls)


def name_of(fn: Callable[..., Any]) -> str:
    """``package.module:qualified.name``: what workers know the task by.

    A script run as ``python shop.py`` or ``python -m shop.jobs`` is ``__main__`` here but has its real name
    in a worker, so the real name is used.
    """
    module = getattr(fn, "__module__", None) or "unknown"
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        if spec is not None and spec.name:
            module = spec.name.removesuffix(".__main__")
        elif file := getattr(main, "__file__", None):
            module = file.rpartition("/")[2].removesuffix(".py")
    return f"{module}:{getattr(fn, '__qualname__', type(fn).__qualname__)}"
