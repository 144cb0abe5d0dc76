"""The parts of an app that behave otherwise in a test: enqueueing inline, and waiting for results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ferryman import ids
from ferryman.errors import ResultTimeout
from ferryman.job import Cancellation, Job
from ferryman.listener import _PENDING, Listener
from ferryman.lookup import Lookup
from ferryman.options import Options
from ferryman.producer import Producer
from ferryman.store.sync import Operation
from ferryman.task import Task

if TYPE_CHECKING:
    from ferryman.app import Ferryman
    from ferryman.testing.kit import Kit


class ImpatientListener(Listener):
    """Waits for no result: no worker is at work, so what has not ended would never end."""

    def wait(self, local: str, queue: str, timeout: float | None) -> Any:
        return self._app.store.drive(self._now(local, queue))

    async def await_(self, local: str, queue: str, timeout: float | None) -> Any:
        return await self._app.store.adrive(self._now(local, queue))

    def _now(self, local: str, queue: str) -> Operation[Any]:
        value = yield from self._look(local, queue)
        if value is _PENDING:
            info = yield from self._app.lookup.info(local, queue)
            raise ResultTimeout(
                f"job {ids.join(local, queue)} ({info.task}) is {info.state}, and no worker is at work in a "
                "test: call drain() first, or enqueue it under inline()"
            )
        return value


class PromptLookup(Lookup):
    """Tells of a cancellation at once whoever runs the job: there is no worker that would hear of it."""

    def __init__(self, app: Ferryman, tell: Callable[[str, str], None]) -> None:
        super().__init__(app)
        self._tell = tell

    def cancel(self, local: str, queue: str, running: bool = False) -> Operation[Cancellation | None]:
        answer = yield from super().cancel(local, queue, running)
        if answer is Cancellation.ASKED:
            self._tell(queue, local)
        return answer


class InlineProducer(Producer):
    """Runs each job at the call that hands it over."""

    def __init__(self, kit: Kit, raise_on_failure: bool) -> None:
        super().__init__(kit.app)
        self._kit = kit
        self._raises = raise_on_failure

    def submit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        job = super().submit(task, options, args, kwargs)
        self._kit.run(job, raise_on_failure=self._raises)
        return job

    async def asubmit(
        self, task: Task[..., Any], options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Job[Any]:
        job = await super().asubmit(task, options, args, kwargs)
        await self._kit.arun(job, raise_on_failure=self._raises)
        return job

    def submit_many(
        self, task: Task[..., Any], options: Options, calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        jobs = super().submit_many(task, options, calls)
        for job in jobs:
            self._kit.run(job, raise_on_failure=self._raises)
        return jobs

    async def asubmit_many(
        self, task: Task[..., Any], options: Options, calls: Iterable[tuple[Any, ...]]
    ) -> list[Job[Any]]:
        jobs = await super().asubmit_many(task, options, calls)
        for job in jobs:
            await self._kit.arun(job, raise_on_failure=self._raises)
        return jobs
