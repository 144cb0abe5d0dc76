"""Whether a job is the call that a test has in mind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ferryman.errors import FerrymanError
from ferryman.job import JobInfo
from ferryman.task import Task

if TYPE_CHECKING:
    from ferryman.app import Ferryman

TaskLike = str | Task[..., Any] | Callable[..., Any]


class Call:
    """A task and, if any are given, the arguments that a test expects it to have been called with.

    Arguments are compared by parameter, so it does not matter which were named; and as they come out of the
    store, so a tuple equals the list that it travels as. `unittest.mock.ANY` equals whatever stands in its
    place. Raises `InvalidArguments` for a call that the task's signature does not allow.
    """

    def __init__(
        self, app: Ferryman, task: TaskLike, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.task: Task[..., Any] = app.task_for(task)
        self._any = not args and not kwargs
        self._args, self._kwargs = args, dict(kwargs)
        if not self._any:
            self.task.codec.check_call(args, self._kwargs)
            self._expected = [self._bound(args, self._kwargs), *self._travelled(app)]

    def __str__(self) -> str:
        return f"{self.task.name}{'' if self._any else shown(self._args, self._kwargs)}"

    def fits(self, task: str, args: tuple[Any, ...] | None, kwargs: Mapping[str, Any] | None) -> bool:
        """Whether a job of `task` with these arguments is such a call."""
        if task != self.task.name:
            return False
        if self._any:
            return True
        return args is not None and self._bound(args, kwargs or {}) in self._expected

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        bound = self.task.codec.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def _travelled(self, app: Ferryman) -> Iterable[dict[str, Any]]:
        """The arguments after a way through the store; none if they cannot travel (as ANY cannot)."""
        codec = self.task.codec
        try:
            packed, named, marks = app.payloads.pack(codec, self._args, self._kwargs)
            return [self._bound(*app.payloads.unpack(codec, packed, named, marks))]
        except FerrymanError:
            return []


def shown(args: tuple[Any, ...] | None, kwargs: Mapping[str, Any] | None) -> str:
    """Arguments as one writes them in a call."""
    if args is None:
        return "(<arguments that cannot be read>)"
    parts = [repr(value) for value in args]
    parts += [f"{name}={value!r}" for name, value in (kwargs or {}).items()]
    return f"({', '.join(parts)})"


def listed(jobs: Iterable[JobInfo]) -> str:
    """Jobs for a failed assertion, one a line."""
    lines = [
        f"  {job.task}{shown(job.args, job.kwargs)} in queue {job.queue!r}, {job.state}"
        f"{f', due {job.due_at.isoformat()}' if job.due_at else ''}"
        for job in jobs
    ]
    return "\n".join(lines) or "  none"
