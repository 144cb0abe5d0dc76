"""The stage of a chaos test: a server's corner, a producer under way, fleets, and the history of it all."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ferryman import Ferryman
from ferryman.errors import StoreError
from ferryman.store.keys import QueueKeys
from tests.chaos.jobs import HISTORY, Tasks
from tests.support import history
from tests.support.fleet import Fleet
from tests.support.history import History
from tests.support.waiting import wait_until

MODULE = "tests.chaos.jobs:app"
CALM_S = 60.0
"""Longer than anything here may take on a busy machine. Nothing waits so long but what has gone wrong."""


def seed_of(default: int) -> int:
    """The seed of a random schedule: the test's own, or ``FERRYMAN_CHAOS_SEED`` to repeat a failure."""
    return int(os.environ.get("FERRYMAN_CHAOS_SEED", default))


class Scene:
    """One test's app, tasks and history, on one queue."""

    def __init__(
        self,
        url: str,
        prefix: str,
        directory: Path,
        queue: str = "default",
        *,
        patience_s: float = 10.0,
        **settings: Any,
    ) -> None:
        self.url = url
        self.prefix = prefix
        self.path = directory / "history"
        self.queue = queue
        self.app = Ferryman(url, prefix=prefix, patience_s=patience_s, **settings)
        self.tasks = Tasks(self.app, self.path)
        self._numbers = itertools.count(1)

    @property
    def keys(self) -> QueueKeys:
        """The names of the queue's keys."""
        return self.app.store.keys(self.queue)

    def command(self, *words: Any) -> Any:
        """One Redis command."""
        return self.app.store.pool.command(*words)

    # -- producing -------------------------------------------------------------------------------------------

    def enqueue(self, task: Any, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Hand over one job for each tuple of arguments after the number, and write that down; the jobs."""
        numbers = [next(self._numbers) for _ in calls]
        note = self.tasks.recorder.note
        for number in numbers:
            note("offer", number)
        try:
            jobs = task.enqueue_many(
                [(number, *arguments) for number, arguments in zip(numbers, calls, strict=True)]
            )
        except StoreError as error:
            for number in numbers[: error.enqueued]:
                note("accept", number)
            raise
        for number in numbers:
            note("accept", number)
        return list(jobs)

    def enqueue_one(self, task: Any, *arguments: Any) -> tuple[int, Any]:
        """Hand over one job; its number and the job."""
        number = next(self._numbers)
        self.tasks.recorder.note("offer", number)
        job = task.enqueue(number, *arguments)
        self.tasks.recorder.note("accept", number)
        return number, job

    def enqueue_harm(self, name: str, *arguments: Any) -> Any:
        """Hand over the harmful task of that name as number 0, which no other job has and which never
        finishes; the job.
        """
        self.tasks.recorder.note("offer", 0)
        return self.app.tasks[f"chaos:{name}"].enqueue(0, *arguments)

    # -- fleets ----------------------------------------------------------------------------------------------

    def fleet(
        self,
        *,
        url: str = "",
        ready: bool = True,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Fleet:
        """Start a fleet, and wait until each of its processes has a lease."""
        options.setdefault("queues", self.queue)
        told = {HISTORY: str(self.path), **(environment or {})}
        fleet = Fleet(url or self.url, self.prefix, MODULE, environment=told, **options)
        if ready:
            try:
                self.wait_ready(fleet)
            except BaseException:
                fleet.close()
                raise
        return fleet

    def wait_ready(self, fleet: Fleet, processes: int = 0) -> None:
        """Wait until so many of the fleet's processes have a lease; all of them by default."""
        wanted = processes or fleet.processes
        fleet.wait_ready(lambda: len(self.leased(fleet)) >= wanted)

    def leased(self, fleet: Fleet) -> set[int]:
        """The live worker processes of a fleet that have a lease."""
        return set(fleet.worker_pids()) & {pid_of(holder) for holder in self.holders()}

    def holders(self) -> set[str]:
        """The names that have a lease."""
        return {name.decode() for name in self.command("ZRANGE", self.keys.workers, 0, -1)}

    def kill(self, fleet: Fleet, *pids: int) -> None:
        """SIGKILL for some of a fleet's processes, written down before and after."""
        for pid in pids:
            self.tasks.recorder.note("kill", pid)
        for pid in pids:
            fleet.send(signal.SIGKILL, pid)
        for pid in pids:
            fleet.wait_gone(pid)
            self.tasks.recorder.note("gone", pid)

    # -- looking ---------------------------------------------------------------------------------------------

    def history(self) -> History:
        """What has happened so far."""
        return history.read(self.path)

    def wait_for_runs(self, more: int) -> None:
        """Wait until so many more jobs have begun than now."""
        self.wait_for_starts(history.starts(self.path) + more)

    def wait_for_starts(self, total: int) -> None:
        """Wait until so many jobs have begun since the beginning."""
        wait_until(lambda: history.starts(self.path) >= total, CALM_S, "the fleet is at work")

    def is_drained(self) -> bool:
        """Whether nothing waits and nothing runs."""
        info = self.app.queue(self.queue).info()
        return not (info.queued or info.scheduled or info.running)

    def wait_drained(self, fleet: Fleet, timeout: float = CALM_S) -> None:
        """Wait until nothing waits and nothing runs."""
        wait_until(
            self.is_drained,
            timeout,
            lambda: f"{self.app.queue(self.queue).info()}\n{fleet.output()[-5000:]}",
            ignoring=StoreError,
        )

    def leftovers(self) -> list[str]:
        """Keys that must be gone when no job and no worker is left: held jobs, holders, leases, bodies."""
        stem = self.keys.stem
        found = [name.decode() for name in self.app.store.pool.command("KEYS", f"{stem}*")]
        names = {name.removeprefix(stem) for name in found}
        return sorted(
            name
            for name in names
            if name.startswith(("held:", "started:", "attempts:"))
            or name
            in {"jobs", "holders", "workers", "ready", "delayed", "retries", "tries", "crashes", "timer"}
        )

    def close(self) -> None:
        """Close what is open."""
        self.app.close()
        self.tasks.recorder.close()


class Load:
    """A producer that keeps some jobs waiting, however fast they are worked off, until it is told to stop."""

    pause_s = 0.01
    """Between two looks at the backlog."""

    def __init__(
        self,
        scene: Scene,
        task: Any,
        arguments: Callable[[random.Random], tuple[Any, ...]],
        backlog: int = 60,
        seed: int = 1,
    ) -> None:
        self.refused: list[StoreError] = []
        """The errors that the producer saw."""
        self._scene = scene
        self._task = task
        self._arguments = arguments
        self._backlog = backlog
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    if self._scene.app.queue(self._scene.queue).info().queued < self._backlog:
                        self._produce()
                    self._stop.wait(self.pause_s)
                except StoreError as error:
                    self.refused.append(error)
                    self._stop.wait(0.02)
        except BaseException as error:  # noqa: BLE001 (the test's thread raises it)
            self._failure = error

    def _produce(self) -> None:
        self._scene.enqueue(self._task, [self._arguments(self._random) for _ in range(10)])
        self._scene.enqueue_one(self._task, *self._arguments(self._random))

    def stop(self) -> None:
        """No more jobs. Raises what the producer met and did not expect."""
        self._stop.set()
        self._thread.join(CALM_S)
        assert not self._thread.is_alive(), "the producer hangs"
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Load:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join(CALM_S)
        if kind is None:
            self.stop()


def pid_of(holder: str) -> int:
    """The process in a holder's name."""
    return int(holder.rsplit("-", 2)[1])
