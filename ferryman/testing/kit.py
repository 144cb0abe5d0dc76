"""The kit: an app's jobs in the hands of a test."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ferryman.errors import ConfigurationError, FerrymanError
from ferryman.execution import Attempt
from ferryman.hooks import Lifecycle
from ferryman.job import Job
from ferryman.outcome import Ended, Outcome
from ferryman.retry import Seconds, as_seconds
from ferryman.store import inspection
from ferryman.testing.clock import Clock, PrivateStore
from ferryman.testing.executor import Executor
from ferryman.testing.faces import ImpatientListener, InlineProducer, PromptLookup
from ferryman.testing.holder import Holder
from ferryman.testing.looking import Looking
from ferryman.testing.matching import shown
from ferryman.testing.runs import Drained, Run, settled_as

if TYPE_CHECKING:
    from ferryman.app import Ferryman

T = TypeVar("T")
Work = Generator[Attempt, Outcome, T]
"""Work written once for both faces: yields attempts to run, is sent what they came to."""

_MOST_RUNS = 10_000


def attach(
    app: Ferryman,
    *,
    raise_on_failure: bool = False,
    startup: bool = False,
    enforce_timeouts: bool = False,
) -> Kit:
    """Give `app` a store of its own in this process, empty, until the kit is detached: by ``with``, or by
    `Kit.detach`.

    Nothing runs by itself then; `Kit.drain` and `Kit.step` run jobs. `raise_on_failure` is the default of
    both: whether a failed attempt raises its error there. `startup` calls the app's ``on_startup`` hooks now,
    and those of ``on_shutdown`` at the end. `enforce_timeouts` holds the tasks' timeouts, by the real clock;
    without it none is held. Raises `ConfigurationError` where fakeredis is not installed.
    """
    return Kit(app, raise_on_failure=raise_on_failure, startup=startup, enforce_timeouts=enforce_timeouts)


@contextlib.contextmanager
def inline(app: Ferryman, *, raise_on_failure: bool = True) -> Iterator[Kit]:
    """Run each job at the call that enqueues it, in the caller's thread; see `Kit.inline`.

    An app that has a kit keeps it; any other is given one for the time of the block.
    """
    store = vars(app).get("store")
    attached = store.kit if isinstance(store, _KitStore) else None
    with (
        contextlib.nullcontext(attached) if attached else attach(app) as kit,
        kit.inline(raise_on_failure=raise_on_failure),
    ):
        yield kit


class _KitStore(PrivateStore):
    """A private store that knows whose it is."""

    kit: Kit


class Kit(Looking):
    """An app's jobs in the hands of a test. Made by `attach`."""

    def __init__(
        self, app: Ferryman, *, raise_on_failure: bool, startup: bool, enforce_timeouts: bool
    ) -> None:
        self.app = app
        self.runs = []
        self._raises = raise_on_failure
        self._store = _KitStore(prefix=app.settings.prefix, timeout_s=app.settings.timeout_s)
        self._store.kit = self
        self.clock = Clock(self._store)
        self._holder = Holder(app, self._store)
        self._executor = Executor(enforce_timeouts=enforce_timeouts)
        self._replaced: dict[str, Any] | None = _swapped(app, {"store": self._store})
        vars(app)["listener"] = ImpatientListener(app)
        vars(app)["lookup"] = PromptLookup(app, self._executor.cancel)
        self._shutdown: list[Lifecycle] = []
        if startup:
            self._start()

    def _start(self) -> None:
        try:
            for hook in self.app.hooks.startup:
                self._executor.call(hook)
        except BaseException:
            self.detach()
            raise
        self._shutdown = self.app.hooks.shutdown

    def __repr__(self) -> str:
        return f"<Kit of {self.app!r}{'' if self._replaced is not None else ', detached'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def detach(self) -> None:
        """Give the app back the store it had. The jobs of the kit are gone. May be called twice.

        Raises `ConfigurationError` if a kit that was attached later is still there.
        """
        if self._replaced is None:
            return
        if vars(self.app).get("store") is not self._store:
            raise ConfigurationError("another kit was attached to this app later: detach that one first")
        try:
            for hook in self._shutdown:
                self._executor.call(hook)
        finally:
            _swapped(self.app, self._replaced)
            self._replaced = None
            self._executor.close()

    @contextlib.contextmanager
    def inline(self, *, raise_on_failure: bool = True) -> Iterator[None]:
        """Within it, each job runs at the call that enqueues it, whatever its delay, and its result is there.

        A failed attempt raises the task's error at that call; with `raise_on_failure` off it is recorded, and
        the job is scheduled for its retry, or dead.
        """
        before = self.app.producer
        vars(self.app)["producer"] = InlineProducer(self, raise_on_failure)
        try:
            yield
        finally:
            vars(self.app)["producer"] = before

    # -- running ---------------------------------------------------------------------------------------------

    def drain(
        self,
        *queues: str,
        ahead: Seconds = 0,
        raise_on_failure: bool | None = None,
        most: int = _MOST_RUNS,
    ) -> Drained:
        """Run all jobs that are due, and those that these enqueue, until none is left.

        `queues` names the queues to work, the first before the second and so on; without names all are
        worked, in the order of their names. `ahead` runs also what comes due within so much time: the clock
        moves from one due moment to the next, and then to the end of that time; ``math.inf`` runs all there
        is. With `raise_on_failure` the first failed attempt raises its error, once the job has its next
        place. Raises `AssertionError` after `most` attempts, for jobs that enqueue one another without end.
        """
        return self._drive(self._draining(queues, ahead, raise_on_failure, most))

    async def adrain(
        self,
        *queues: str,
        ahead: Seconds = 0,
        raise_on_failure: bool | None = None,
        most: int = _MOST_RUNS,
    ) -> Drained:
        """As `drain`: async tasks run on the running event loop, the others on a thread, one at a time."""
        return await self._adrive(self._draining(queues, ahead, raise_on_failure, most))

    def step(
        self, *queues: str, raise_on_failure: bool | None = None, lose_worker: bool = False
    ) -> Run | None:
        """Run the one job whose turn it is; None if none is due.

        `lose_worker` runs the task and then lets its worker be lost before it could say so: the job goes back
        to its queue and will run again, as it may in production.
        """
        return self._drive(self._stepping(queues, raise_on_failure, lose_worker))

    async def astep(
        self, *queues: str, raise_on_failure: bool | None = None, lose_worker: bool = False
    ) -> Run | None:
        """As `step`, on the running event loop."""
        return await self._adrive(self._stepping(queues, raise_on_failure, lose_worker))

    def run(self, job: Job[Any], *, raise_on_failure: bool | None = None) -> Run | None:
        """Run one certain job, before its time and before those in front of it. None if it does not wait."""
        return self._drive(self._running(job, raise_on_failure))

    async def arun(self, job: Job[Any], *, raise_on_failure: bool | None = None) -> Run | None:
        """As `run`, on the running event loop."""
        return await self._adrive(self._running(job, raise_on_failure))

    def _draining(
        self, queues: Sequence[str], ahead: Seconds, raises: bool | None, most: int
    ) -> Work[Drained]:
        seconds = math.inf if ahead == math.inf else as_seconds(ahead, "drain(ahead)")
        until_ms = self._store.memory.now_ms() + seconds * 1000
        runs: list[Run] = []
        while True:
            run = yield from self._stepping(queues, raises, False)
            if run is not None:
                runs.append(run)
                if len(runs) > most:
                    raise AssertionError(
                        f"drain() has run more than {most} jobs, the last was "
                        f"{run.task}{shown(run.args, run.kwargs)}: do they enqueue themselves again? "
                        "Allow for more with most="
                    )
                continue
            due_ms = self._next_due_ms(queues) if seconds else math.inf
            if due_ms > until_ms or due_ms == math.inf:
                break
            self._move_on_to(due_ms)
        if seconds and until_ms < math.inf:
            self._move_on_to(until_ms)
        return Drained(tuple(runs))

    def _next_due_ms(self, queues: Sequence[str]) -> float:
        surveys = (
            self._store.run(inspection.survey(self._store.keys(queue))) for queue in self._names(queues)
        )
        return min((found.next_due_ms or math.inf for found in surveys), default=math.inf)

    def _move_on_to(self, moment_ms: float) -> None:
        if moment_ms > self._store.memory.now_ms():
            self.clock.move_to_ms(int(moment_ms))

    def _names(self, queues: Sequence[str]) -> Sequence[str]:
        return queues or [queue.name for queue in self.app.queues()]

    def _stepping(self, queues: Sequence[str], raises: bool | None, lose: bool) -> Work[Run | None]:
        for queue in self._names(queues):
            attempt = self._holder.take(queue)
            if attempt is not None:
                return (yield from self._attempting(attempt, raises, lose))
        return None

    def _running(self, job: Job[Any], raises: bool | None) -> Work[Run | None]:
        attempt = self._holder.take_this(job.shard, job.local)
        return None if attempt is None else (yield from self._attempting(attempt, raises, False))

    def _attempting(self, attempt: Attempt, raises: bool | None, lose: bool) -> Work[Run]:
        if self._holder.is_expired(attempt):
            outcome: Outcome = Ended("expired")
        else:
            try:
                outcome = yield attempt
            except BaseException:  # not the task's error: Ctrl-C, or pytest's
                self._holder.give_back(attempt)
                raise
        run = self._settled(attempt, outcome, lose)
        self.runs.append(run)
        if run.is_failure and run.error is not None and (self._raises if raises is None else raises):
            raise run.error
        return run

    def _settled(self, attempt: Attempt, outcome: Outcome, lose: bool) -> Run:
        job: Job[Any] = Job(self.app, attempt.local.decode(), attempt.queue)
        args, kwargs = self._arguments(attempt)
        make = functools.partial(Run, job, attempt.task.name, attempt.made + 1, args=args, kwargs=kwargs)
        if lose:
            died = self._holder.lose(attempt)
            return make(
                became="cancelled" if attempt.cancelled else "dead" if died else "requeued", outcome=None
            )
        settled = self._holder.settle(attempt, outcome)
        return make(became=settled_as(settled.way, outcome), outcome=outcome)

    def _arguments(self, attempt: Attempt) -> tuple[tuple[Any, ...], dict[str, Any]]:
        letter = attempt.letter
        try:
            return self.app.payloads.unpack(attempt.task.codec, letter.args, letter.kwargs, letter.options)
        except FerrymanError:  # the attempt has failed because of it
            return (), {}

    def _drive(self, work: Work[T]) -> T:
        self._check_attached()
        try:
            attempt = next(work)
            while True:
                try:
                    outcome = self._executor.run(attempt)
                except BaseException as error:  # noqa: BLE001 (the work raises it again)
                    attempt = work.throw(error)
                else:
                    attempt = work.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _adrive(self, work: Work[T]) -> T:
        self._check_attached()
        try:
            attempt = next(work)
            while True:
                try:
                    outcome = await self._executor.arun(attempt)
                except BaseException as error:  # noqa: BLE001 (the work raises it again)
                    attempt = work.throw(error)
                else:
                    attempt = work.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _check_attached(self) -> None:
        if vars(self.app).get("store") is not self._store:
            raise ConfigurationError(
                "this kit is not attached to its app: it was detached, or another was attached after it"
            )


def _swapped(app: Ferryman, parts: dict[str, Any]) -> dict[str, Any]:
    """Replace the parts of an app that were made with its store, all at once. Gives those that it had.

    They are its cached properties; what is not in `parts` is made anew at its next use.
    """
    cached = [
        name
        for kind in type(app).__mro__
        for name, value in vars(kind).items()
        if isinstance(value, functools.cached_property)
    ]
    had = {name: vars(app).pop(name) for name in cached if name in vars(app)}
    vars(app).update(parts)
    return had
