"""What an application imports: every call has a blocking and an asyncio face, and says what it does."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import ferryman
from ferryman import Ferryman, Job, Queue, Task

WITHOUT_IO = {
    Ferryman: {
        "around_enqueue", "around_run", "cron", "every", "get_task", "schedule", "invalid_call",
        "job", "on_shutdown", "on_startup",
        "queue", "queue_order", "shards_of", "task", "task_for", "workers",
    },
    Task: {"around_enqueue", "around_run", "options"},
    Queue: {"options"},
    Job: set[str](),
}  # fmt: skip


def methods(kind: type) -> dict[str, Any]:
    return {name: found for name, found in vars(kind).items() if name[0] != "_" and inspect.isfunction(found)}


@pytest.mark.parametrize("kind", WITHOUT_IO, ids=lambda kind: kind.__name__)
def test_whatever_asks_redis_has_two_faces_with_the_same_parameters(kind: type) -> None:
    found = methods(kind)
    for name, method in found.items():
        is_async = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
        if name in WITHOUT_IO[kind]:
            assert not is_async, f"{name} asks Redis nothing"
        elif is_async:
            other = vars(kind)[name.removeprefix("a")]
            if inspect.isfunction(other):  # astate() stands for a property
                assert inspect.signature(other).parameters == inspect.signature(method).parameters, name
        else:
            assert f"a{name}" in found, f"{kind.__name__}.{name} has no asyncio face"


@pytest.mark.parametrize("name", ferryman.__all__)
def test_everything_public_has_a_docstring(name: str) -> None:
    found = getattr(ferryman, name)
    assert inspect.getdoc(found)
    for member, value in vars(found).items() if inspect.isclass(found) else ():
        unwrapped = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if member[0] != "_" and inspect.isfunction(unwrapped):
            assert unwrapped.__doc__, f"{name}.{member}"
