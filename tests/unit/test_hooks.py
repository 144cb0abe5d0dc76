"""Code of the user's around Ferryman's, by both faces."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import pytest

from ferryman.errors import ConfigurationError
from ferryman.hooks import Around, acall_around, call_around, check_around

Inner = Callable[[], Any]


def sync_call(hooks: list[Around], inner: Inner) -> Any:
    return call_around(hooks, "subject", inner)


def async_call(hooks: list[Around], inner: Inner) -> Any:
    async def awaited() -> Any:
        return inner()

    def start() -> Awaitable[Any]:
        return awaited()

    return asyncio.run(acall_around(hooks, "subject", start))


@pytest.fixture(params=[sync_call, async_call], ids=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[[list[Around], Inner], Any]:
    found: Callable[[list[Around], Inner], Any] = request.param
    return found


def telling(told: list[str], name: str) -> Around:
    def hook(subject: str) -> Generator[None, Any, None]:
        told.append(f"{name} before {subject}")
        result = yield
        told.append(f"{name} after {result}")

    return hook


def test_the_first_hook_is_outermost(call: Any) -> None:
    told: list[str] = []

    def inner() -> int:
        told.append("call")
        return 7

    assert call([telling(told, "a"), telling(told, "b")], inner) == 7
    assert told == ["a before subject", "b before subject", "call", "b after 7", "a after 7"]


def test_an_error_arises_at_the_yield_and_goes_on(call: Any) -> None:
    seen: list[str] = []

    def hook(_: Any) -> Generator[None]:
        try:
            yield
        except ValueError as error:
            seen.append(str(error))
            raise

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        call([hook], fail)
    assert seen == ["no"]


def test_a_hook_may_swallow_an_error_or_put_another_in_its_place(call: Any) -> None:
    def swallow(_: Any) -> Generator[None]:
        with contextlib.suppress(ValueError):
            yield

    def replace(_: Any) -> Generator[None]:
        try:
            yield
        except ValueError:
            raise KeyError("other") from None

    def fail() -> None:
        raise ValueError("no")

    assert call([swallow], fail) is None
    with pytest.raises(KeyError, match="other"):
        call([replace], fail)


def test_an_error_before_the_yield_prevents_the_call(call: Any) -> None:
    called: list[int] = []

    def refuse(_: Any) -> Generator[None]:
        raise PermissionError("not now")
        yield

    with pytest.raises(PermissionError):
        call([refuse], lambda: called.append(1))
    assert called == []


def test_an_error_after_the_yield_is_not_lost(call: Any) -> None:
    def late(_: Any) -> Generator[None]:
        yield
        raise OSError("log is full")

    with pytest.raises(OSError, match="log is full"):
        call([late], lambda: 1)


def test_a_hook_that_yields_twice_is_told(call: Any) -> None:
    def twice(_: Any) -> Generator[None]:
        yield
        yield

    def stubborn(_: Any) -> Generator[None]:
        try:
            yield
        except ValueError:
            yield

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ConfigurationError, match=r"twice.* exactly once"):
        call([twice], lambda: 1)
    with pytest.raises(ConfigurationError, match=r"stubborn.* exactly once"):
        call([stubborn], fail)


def test_a_hook_that_does_not_come_to_its_yield_does_nothing(call: Any) -> None:
    def nothing(subject: str) -> Generator[None]:
        if subject == "another":
            yield

    def fail() -> None:
        raise ValueError("no")

    assert call([nothing], lambda: 5) == 5
    with pytest.raises(ValueError, match="no"):
        call([nothing], fail)


def test_an_async_hook_wraps_the_async_face_only() -> None:
    told: list[str] = []

    async def hook(subject: str) -> AsyncGenerator[None, Any]:
        told.append(f"before {subject}")
        try:
            result = yield
        except ValueError:
            told.append("failed")
            raise
        told.append(f"after {result}")

    def fail() -> None:
        raise ValueError("no")

    assert async_call([hook], lambda: 7) == 7
    with pytest.raises(ValueError, match="no"):
        async_call([hook], fail)
    assert told == ["before subject", "after 7", "before subject", "failed"]
    assert sync_call([hook], lambda: 7) == 7
    assert len(told) == 4


def test_an_async_hook_may_swallow_and_may_not_yield_twice() -> None:
    async def swallow(_: Any) -> AsyncGenerator[None]:
        with contextlib.suppress(ValueError):
            yield

    async def twice(_: Any) -> AsyncGenerator[None]:
        with contextlib.suppress(ValueError):
            yield
        yield

    def fail() -> None:
        raise ValueError("no")

    assert async_call([swallow], fail) is None
    for inner in (lambda: 1, fail):
        with pytest.raises(ConfigurationError, match="exactly once"):
            async_call([twice], inner)


def test_only_generator_functions_are_hooks() -> None:
    async def agenerator(_: Any) -> AsyncGenerator[None]:
        yield

    def generator(_: Any) -> Generator[None]:
        yield

    def plain(_: Any) -> Any:
        return None

    assert check_around(generator) is generator
    assert check_around(agenerator) is agenerator
    with pytest.raises(ConfigurationError, match="plain"):
        check_around(plain)
