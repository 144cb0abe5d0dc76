"""Real processes, killed at every moment of every step that they take: workers and supervisors, enumerated.

A proxy between the fleet and its server sees which process is about to take which step, and has that process
killed before the server has the request, after it was carried out and before the reply, or after the reply.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.scene import CALM_S, Load, Scene
from tests.support import history as judge
from tests.support.fleet import Fleet
from tests.support.proxy import MOMENTS, Proxy, is_script
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

OPTIONS: dict[str, Any] = {
    "threads": 3,
    "lease_s": 2,
    "crash_limit": 100,  # more often than any job here is hit
}
AGAIN_S = 2.0


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A proxy in front of the shared server, for the fleet alone."""
    with Proxy(server.unix_url) as made:
        yield made


class Siege:
    """A fleet behind a proxy, and what makes its workers take a certain step soon."""

    def __init__(self, scene: Scene, proxy: Proxy, fleet: Fleet, marks: Path) -> None:
        self.scene = scene
        self.proxy = proxy
        self.fleet = fleet
        self.marks = marks

    def kill(self, pid: int) -> None:
        """SIGKILL for one of the fleet, written down."""
        self.scene.kill(self.fleet, pid)

    def kill_a_worker(self) -> None:
        """A process that has worked dies, and another begins at once."""
        self.work()
        self.scene.wait_for_runs(30)
        self.kill(max(self.scene.leased(self.fleet)))

    def work(self) -> None:
        """Jobs that do nothing but succeed."""
        self.scene.enqueue(self.scene.tasks.work, [(5,)] * 60)

    def fail(self) -> None:
        """Failed attempts, and snoozes, which are told in the same way."""
        self.scene.enqueue(self.scene.tasks.unsteady, [()] * 6)
        self.scene.enqueue(self.scene.tasks.drowsy, [(str(self.marks),)] * 6)

    def fail_for_good(self) -> None:
        """Jobs that end among the dead letters."""
        self.scene.enqueue(self.scene.tasks.doomed, [()] * 6)

    def crash(self) -> None:
        """A worker dies with jobs running: whoever takes those next announces that they begin."""
        self.scene.enqueue(self.scene.tasks.work, [(100,)] * 12)
        self.scene.wait_for_runs(6)
        self.kill(max(self.scene.leased(self.fleet)))

    def pause(self) -> None:
        """Nothing new is taken until nothing runs: what waits inside a process is given back."""
        self.scene.enqueue(self.scene.tasks.work, [(5,)] * 120)
        self.scene.wait_for_runs(10)
        self.fleet.send(signal.SIGTSTP)
        queue = self.scene.app.queue(self.scene.queue)
        wait_until(lambda: not queue.info().running, CALM_S, self.fleet.output)
        self.fleet.send(signal.SIGCONT)

    def replace(self) -> None:
        """The processes are replaced one by one, in good order."""
        self.fleet.send(signal.SIGHUP)

    def lose_a_fetch(self) -> None:
        """A worker does not hear what it has fetched, and asks."""
        self.proxy.lose_reply(is_script("fetch"))
        self.work()


BY_WORKERS: dict[str, Callable[[Siege], None]] = {
    "ack": Siege.work,
    "announce": Siege.crash,
    "bury": Siege.fail_for_good,
    "fetch": Siege.work,
    "reconcile": Siege.lose_a_fetch,
    "register": Siege.kill_a_worker,
    "release": Siege.pause,
    "retire": Siege.replace,
    "retry": Siege.fail,
}
"""Each step of a worker, and what leads to it."""
BY_SUPERVISORS: dict[str, Callable[[Siege], None]] = {
    "heartbeat": lambda _: None,
    "insist": lambda _: None,
    "recover": Siege.kill_a_worker,
    "sweep": lambda _: None,
}
BY_OTHERS = {"cancel", "enqueue", "locate", "pause", "purge", "revive", "survey"}
BY_SCHEDULERS = {
    "lead", "look", "put_off", "resign", "schedule_drop", "schedule_get", "schedule_put", "tick",
}  # fmt: skip
"""`test_schedulers.py` has the processes, `test_every_step.py` each moment of each step."""
SELDOM = {"defer", "drop", "summon"}
"""Only between workers of two versions, or after somebody has deleted envelopes from outside: met in
`test_every_step.py` alone.
"""


def test_every_script_is_met_here_or_is_no_business_of_a_fleet() -> None:
    folder = resources.files("ferryman.store") / "lua"
    there = {path.name.removesuffix(".lua") for path in folder.iterdir() if path.name.endswith(".lua")}
    assert there == {*BY_WORKERS, *BY_SUPERVISORS, *BY_OTHERS, *BY_SCHEDULERS, *SELDOM}


@pytest.mark.parametrize("script", BY_WORKERS)
def test_a_worker_killed_at_any_moment_of_its_steps_loses_nothing(
    script: str, scene: Scene, proxy: Proxy, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    with scene.fleet(url=proxy.url, processes=2, **OPTIONS) as fleet:
        siege = Siege(scene, proxy, fleet, marks)
        for moment in MOMENTS:
            scene.wait_ready(fleet, 1)
            fault = proxy.strike(moment, is_script(script), siege.kill)
            deadline = time.monotonic() + CALM_S
            BY_WORKERS[script](siege)
            while not fault.done.wait(AGAIN_S):
                assert time.monotonic() < deadline, f"nobody takes the step {script}\n{fleet.output()}"
                if len(scene.leased(fleet)) == fleet.processes:
                    BY_WORKERS[script](siege)
        scene.wait_drained(fleet)
        # Killed between its registration and the reply, a worker leaves a name that nobody knows it by. It
        # holds nothing, and goes when its lease has lapsed.
        wait_until(
            lambda: len(scene.holders()) == len(scene.leased(fleet)) == fleet.processes, CALM_S, fleet.output
        )
        assert fleet.terminate() == 0, fleet.output()
    # A name of the last moment may outlive the fleet: nobody is left to look for it. It holds nothing.
    _assert_well(scene, but={"holders", "workers"} if script == "register" else frozenset())


@pytest.mark.parametrize("script", BY_SUPERVISORS)
def test_a_supervisor_killed_at_any_moment_of_its_steps_loses_nothing(
    script: str, scene: Scene, proxy: Proxy, tmp_path: Path
) -> None:
    with scene.fleet(**OPTIONS) as other:
        with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(2, 20),)):
            for moment in MOMENTS:
                with scene.fleet(url=proxy.url, **OPTIONS) as fleet:
                    siege = Siege(scene, proxy, fleet, tmp_path)
                    fault = proxy.strike(moment, is_script(script), siege.kill)
                    BY_SUPERVISORS[script](siege)
                    assert fault.done.wait(CALM_S), fleet.output()
                    wait_until(lambda: not fleet.pids(), CALM_S, fleet.output)
        scene.wait_drained(other)
        assert other.terminate() == 0, other.output()
    _assert_well(scene)


def _assert_well(scene: Scene, but: AbstractSet[str] = frozenset()) -> None:
    found = scene.history()
    judge.assert_nothing_lost(found)
    unexplained = judge.unexplained(found)
    shown = [run for number in sorted(unexplained)[:3] for run in found.runs_of(number)]
    assert not unexplained, f"ran again without a kill that excuses it: {shown}"
    scene.app.queue(scene.queue).purge("dead")
    assert set(scene.leftovers()) <= but
