"""Code of the user's that runs around Ferryman's: when a worker process starts and stops, around each
enqueue, around each run.

An *around* hook is a generator function with one ``yield``, as a pytest fixture or a context manager is: what
stands before it runs before, what stands after it runs after, exceptions arise at the ``yield``, and the
``yield`` gives what the inner call returned. A plain generator wraps sync and async tasks alike; an async
generator can await, and wraps what is awaited only: `aenqueue`, and the runs of async tasks.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ferryman.errors import ConfigurationError

Around = Callable[[Any], Iterator[Any] | AsyncIterator[Any]]
Lifecycle = Callable[[], Any]


@dataclass(slots=True)
class Hooks:
    """The hooks of an app or of one task, in the order in which they were added: the first is outermost."""

    startup: list[Lifecycle] = field(default_factory=list)
    shutdown: list[Lifecycle] = field(default_factory=list)
    around_enqueue: list[Around] = field(default_factory=list)
    around_run: list[Around] = field(default_factory=list)


def check_around(hook: Around) -> Around:
    """The hook, if it is a generator function. Raises `ConfigurationError`."""
    if inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
        return hook
    raise ConfigurationError(
        f"hook {getattr(hook, '__qualname__', hook)!r} must be a generator function "
        "with one 'yield', around which it does its work"
    )


def call_around(hooks: list[Around], subject: Any, inner: Callable[[], Any]) -> Any:
    """Call `inner` inside the plain generators among `hooks`."""
    call = inner
    for hook in reversed(hooks):
        if not inspect.isasyncgenfunction(hook):
            call = _wrapped(hook, subject, call)
    return call()


def _wrapped(hook: Around, subject: Any, call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        generator: Any = hook(subject)
        next(generator, None)
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 (the hook decides, and re-raises)
            return _throw(generator, error)
        return _finish(generator, result)

    return run


async def acall_around(hooks: list[Around], subject: Any, inner: Callable[[], Awaitable[Any]]) -> Any:
    """Await `inner` inside all of `hooks`, plain and async."""
    call = inner
    for hook in reversed(hooks):
        call = _awrapped(hook, subject, call)
    return await call()


def _awrapped(hook: Around, subject: Any, call: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    if not inspect.isasyncgenfunction(hook):

        async def run() -> Any:
            generator: Any = hook(subject)
            next(generator, None)
            try:
                result = await call()
            except BaseException as error:  # noqa: BLE001 (the hook decides, and re-raises)
                return _throw(generator, error)
            return _finish(generator, result)

        return run

    async def arun() -> Any:
        generator: Any = hook(subject)
        await anext(generator, None)
        try:
            result = await call()
        except BaseException as error:
            try:
                await generator.athrow(error)
            except StopAsyncIteration:
                return None
            raise _second_yield(hook) from error
        try:
            await generator.asend(result)
        except StopAsyncIteration:
            return result
        raise _second_yield(hook)

    return arun


def _throw(generator: Any, error: BaseException) -> Any:
    """Let the hook see the error. If it swallows it, the call counts as a success that returned None."""
    try:
        generator.throw(error)
    except StopIteration as end:
        return end.value
    raise _second_yield(generator) from error


def _finish(generator: Any, result: Any) -> Any:
    try:
        generator.send(result)
    except StopIteration:
        return result
    raise _second_yield(generator)


def _second_yield(hook: Any) -> ConfigurationError:
    return ConfigurationError(
        f"hook {getattr(hook, '__qualname__', hook)!r} yields more than once; "
        "an around hook yields exactly once"
    )
