"""What a test asks of the jobs that wait, ran or died, and what it asserts of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ferryman.errors import InvalidOption, JobNotFound
from ferryman.job import JobInfo
from ferryman.retry import Seconds, as_seconds
from ferryman.testing.clock import Clock
from ferryman.testing.matching import Call, TaskLike, listed, shown
from ferryman.testing.runs import Run

if TYPE_CHECKING:
    from ferryman.app import Ferryman

_LIVING = ("queued", "scheduled", "running", "dead")
_WAITING = ("queued", "scheduled")


class Looking:
    """The half of a `Kit` that changes nothing."""

    app: Ferryman
    """The app that the kit is attached to."""
    clock: Clock
    """The store's clock."""
    runs: list[Run]
    """Every attempt that was made since the kit was attached, oldest first."""

    def jobs(
        self, *, queue: str | None = None, task: TaskLike | None = None, state: str | None = None
    ) -> list[JobInfo]:
        """The jobs that wait, run or are dead, in the order in which they were enqueued.

        `state` is ``queued``, ``scheduled``, ``running`` or ``dead``. Jobs that ended are no longer in a
        queue: see `runs`.
        """
        if state is not None and state not in _LIVING:
            raise InvalidOption(f"jobs(state={state!r}): it must be one of {', '.join(_LIVING)}")
        name = None if task is None else self.app.task_for(task).name
        return [
            job
            for job in self._found(queue, (state,) if state else _LIVING)
            if name is None or job.task == name
        ]

    @property
    def dead(self) -> list[JobInfo]:
        """The dead letters of all queues."""
        return self.jobs(state="dead")

    def assert_enqueued(
        self,
        task: TaskLike,
        *args: Any,
        queue: str | None = None,
        within: Seconds | None = None,
        count: int | None = None,
        **kwargs: Any,
    ) -> JobInfo:
        """Some job of `task` waits to be run; gives the first. Raises `AssertionError` with the list of those
        that do.

        Without arguments any call will do, with arguments it must be that call (`unittest.mock.ANY` stands
        for any value). `queue` must be its queue; `within` says how long from now, by the kit's clock, it may
        be until it is due; `count` how many such jobs there are. A parameter of the task that has one of
        these names is given by position.
        """
        call = Call(self.app, task, args, kwargs)
        found = self._waiting(call, queue, within)
        if not found or (count is not None and len(found) != count):
            wanted = "a job" if count is None else f"{count} jobs" if count != 1 else "one job"
            raise AssertionError(
                f"expected {wanted} {call}{_said(queue, within)} to wait, found {len(found)}; these wait:\n"
                f"{listed(self._found(None, _WAITING))}"
            )
        return found[0]

    def assert_not_enqueued(
        self,
        task: TaskLike,
        *args: Any,
        queue: str | None = None,
        within: Seconds | None = None,
        **kwargs: Any,
    ) -> None:
        """No such job waits to be run; see `assert_enqueued`."""
        call = Call(self.app, task, args, kwargs)
        if found := self._waiting(call, queue, within):
            raise AssertionError(
                f"expected no job {call}{_said(queue, within)} to wait, found {len(found)}:\n{listed(found)}"
            )

    def assert_ran(self, task: TaskLike, *args: Any, times: int | None = None, **kwargs: Any) -> Run:
        """An attempt of such a call was made, `times` of them if that is given; gives the first. Raises
        `AssertionError` with the list of what ran.
        """
        call = Call(self.app, task, args, kwargs)
        found = [run for run in self.runs if call.fits(run.task, run.args, run.kwargs)]
        if not found or (times is not None and len(found) != times):
            wanted = "a run" if times is None else f"{times} runs"
            ran = "\n".join(f"  {run.task}{shown(run.args, run.kwargs)}: {run.became}" for run in self.runs)
            raise AssertionError(
                f"expected {wanted} of {call}, found {len(found)}; these ran:\n{ran or '  none'}"
            )
        return found[0]

    def assert_not_ran(self, task: TaskLike, *args: Any, **kwargs: Any) -> None:
        """No attempt of such a call was made."""
        call = Call(self.app, task, args, kwargs)
        found = [run for run in self.runs if call.fits(run.task, run.args, run.kwargs)]
        if found:
            raise AssertionError(f"expected no run of {call}, found {len(found)}")

    def _waiting(self, call: Call, queue: str | None, within: Seconds | None) -> list[JobInfo]:
        found = [job for job in self._found(queue, _WAITING) if call.fits(job.task, job.args, job.kwargs)]
        if within is None:
            return found
        latest = self.clock.now() + timedelta(seconds=as_seconds(within, "within"))
        return [job for job in found if job.due_at is None or job.due_at <= latest]

    def _found(self, queue: str | None, states: Iterable[str]) -> list[JobInfo]:
        found = []
        for handle in self.app.queues() if queue is None else [self.app.queue(queue)]:
            for state in states:
                for job in handle.jobs(state):
                    try:
                        found.append(job.info())
                    except JobNotFound:  # it ended meanwhile, on another thread
                        continue
        return sorted(found, key=lambda job: (job.enqueued_at is not None and job.enqueued_at, job.id))


def _said(queue: str | None, within: Seconds | None) -> str:
    due = "" if within is None else f" due within {as_seconds(within, 'within'):g} s"
    return ("" if queue is None else f" in queue {queue!r}") + due
