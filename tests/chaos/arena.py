"""Where fault schedules are carried out: one server, machines around it, a producer, each behind a proxy.

    with Arena(directory, prefix) as arena:
        with arena.load(seed):
            arena.carry_out(schedule)
        arena.settle()
        verdict = arena.verdict()

A machine is a supervisor with its workers; one whose supervisor has died is started anew, as an init system
would. What is done, and to which processes, goes into the same history as what the jobs do.
"""

from __future__ import annotations

import contextlib
import glob
import heapq
import itertools
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from ferryman.errors import StoreError
from tests.chaos.scene import CALM_S, Load, Scene
from tests.chaos.schedule import Fault, Schedule
from tests.support import history as judge
from tests.support.fleet import Fleet
from tests.support.history import MS, History, S
from tests.support.proxy import Gate, Proxy, is_command
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

LEASE_S = 3.0
SETTINGS = {"lease_s": LEASE_S, "timeout_s": 1.0, "kill_after_s": 10.0, "crash_limit": 1000}
DELAY_S = 0.05
End = Callable[[], None] | None
CALLS = 3
"""How many calls one fault of lost requests or lost replies strikes."""


def faketime_library() -> str | None:
    """libfaketime, which lets one process believe in another time; None where it is not installed."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return found[0] if found else None


def faked(clock: Path) -> dict[str, str]:
    """What gives a process the clock that a file tells (``+0``, ``-2d``); monotonic time stays real."""
    return {
        "LD_PRELOAD": faketime_library() or "",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


class Machine:
    """A supervisor with its workers, the network between them and the server, and their clock."""

    def __init__(
        self, scene: Scene, server: RedisServer, directory: Path, *, clock: bool, **options: Any
    ) -> None:
        self._scene = scene
        self._options = options
        self.proxy = Proxy(server.unix_url)
        self._clock = directory / "clock"
        self._clock.write_text("+0")
        self._environment = faked(self._clock) if clock and faketime_library() else {}
        self.said: list[str] = []
        """The output of earlier fleets."""
        self.fleet = self.start()

    def start(self) -> Fleet:
        """Start the supervisor, without waiting until it is ready."""
        self.fleet = self._scene.fleet(
            url=self.proxy.url, ready=False, environment=self._environment, **self._options
        )
        return self.fleet

    def revive(self) -> None:
        """Start it anew if its supervisor has ended. Orphans that still end their jobs are left in peace."""
        if self.fleet.ended() and not self.fleet.pids():
            self.fleet.close()
            self.said.append(self.fleet.output())
            self.start()

    def jump(self, by_s: int) -> None:
        """Set the clock of all its processes; they look at it once a second."""
        self._clock.write_text(f"{by_s:+d}")

    def output(self) -> str:
        """What all its fleets wrote."""
        return "\n".join([*self.said, self.fleet.output()])

    def close(self) -> None:
        """Kill whatever is left."""
        self.fleet.close()
        self.proxy.close()


@dataclass
class Outcome:
    """What a fault did to whom, and when."""

    fault: Fault
    began_ns: int
    ended_ns: int = 0
    pids: set[int] = field(default_factory=set)
    """Whom it struck; empty: everybody, or the producer."""

    def recovery_ms(self, history: History) -> float | None:
        """How long until all was well. After a kill: until the first job that was running there ran again.
        Else, from the fault's end until somebody whom it struck began a job (of the producer: got one
        accepted). None if nothing was running there, or those whom it struck have left.
        """
        if self.fault.what == "kill" and self.pids:
            kills = [one for one in history.kills if one.pid in self.pids and one.began_ns >= self.began_ns]
            found = [again for kill in kills if (again := judge.recovery_ms(history, kill)) is not None]
            return min(found, default=None)
        if self.fault.target == "producer":
            moments = [at for at in history.accepted_ns if at > self.ended_ns]
        else:
            moments = [
                run.started_ns
                for run in history.runs
                if run.started_ns > self.ended_ns and (not self.pids or run.pid in self.pids)
            ]
        return (min(moments) - self.ended_ns) / MS if moments else None


class Arena:
    """One server with machines and a producer, and faults for all of them."""

    def __init__(
        self,
        directory: Path,
        prefix: str,
        *,
        machines: int = 2,
        processes: int = 2,
        threads: int = 4,
        clocks: bool = False,
        **settings: Any,
    ) -> None:
        """`clocks` puts the machines under libfaketime, so that their clocks can jump."""
        self.outcomes: list[Outcome] = []
        self.machines: list[Machine] = []
        self.server = RedisServer("valkey", aof=True, args=["--appendfsync", "always"], fast_disk=True)
        self.front = Proxy(self.server.unix_url)
        self.scene = Scene(self.front.url, prefix, directory)
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        try:
            for number in range(machines):
                home = directory / f"machine-{number}"
                home.mkdir()
                made = Machine(
                    self.scene, self.server, home, clock=clocks, processes=processes, threads=threads,
                    words=["--concurrency", "8"], **SETTINGS, **settings,
                )  # fmt: skip
                self.machines.append(made)
            for machine in self.machines:
                self.scene.wait_ready(machine.fleet)
        except BaseException:
            self.close()
            raise

    # -- carrying out ----------------------------------------------------------------------------------------

    def load(self, seed: int) -> Load:
        """A producer under way, with jobs of every kind."""
        return Load(self.scene, self.scene.tasks.work, lambda chance: (chance.uniform(1, 30),), seed=seed)

    def carry_out(self, schedule: Schedule) -> None:
        """Do all of it, and wait until the last fault is over. Faults that last may overlap."""
        begin = time.monotonic()
        base = judge.starts(self.scene.path)
        for fault in schedule:
            if not fault.runs:
                self._later(begin + fault.at_s, self._doing(fault))
        waiting = sorted((fault for fault in schedule if fault.runs), key=lambda fault: fault.runs)
        while self._agenda or waiting:
            now = time.monotonic()
            while waiting and judge.starts(self.scene.path) - base >= waiting[0].runs:
                self._later(now, self._doing(waiting.pop(0)))
            self.tend()
            until = self._agenda[0][0] if self._agenda else now + 1
            time.sleep(min(max(until - time.monotonic(), 0.001), 0.05))

    def tend(self) -> None:
        """Begin and end what is due, and start machines anew whose supervisor is gone."""
        while self._agenda and self._agenda[0][0] <= time.monotonic():
            heapq.heappop(self._agenda)[2]()
        for machine in self.machines:
            machine.revive()

    def _later(self, at: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), action))

    def _doing(self, fault: Fault) -> Callable[[], object]:
        return lambda: self.begin(fault)

    def begin(self, fault: Fault) -> Outcome:
        """Do it. One that lasts ends by itself while schedules are carried out, at the latest in `settle`."""
        outcome = Outcome(fault, time.monotonic_ns())
        self.outcomes.append(outcome)
        end = getattr(self, f"_{fault.what.replace(' ', '_')}")(fault, outcome)

        def finish() -> None:
            if end is not None:
                end()
            outcome.ended_ns = time.monotonic_ns()

        if fault.for_s:
            self._later(time.monotonic() + fault.for_s, finish)
        else:
            finish()
        return outcome

    def _machine(self, fault: Fault) -> Machine:
        return self.machines[fault.number % len(self.machines)]

    def _network(self, fault: Fault) -> Proxy:
        return self.front if fault.target == "producer" else self._machine(fault).proxy

    def _struck(self, fault: Fault) -> list[tuple[Fleet, int]]:
        """The processes that a fault is for."""
        if fault.target == "worker":
            everybody = [(one.fleet, pid) for one in self.machines for pid in one.fleet.worker_pids()]
            return [everybody[fault.number % len(everybody)]] if everybody else []
        fleet = self._machine(fault).fleet
        if fault.target == "supervisor":
            return [] if fleet.ended() else [(fleet, fleet.pid)]
        return [(fleet, pid) for pid in fleet.pids()]

    # -- each kind of fault: what `begin` does, and gives for the end ----------------------------------------

    def _kill(self, fault: Fault, outcome: Outcome) -> End:
        if fault.target == "server":
            heard = self._silence([0])
            self.server.restart()
            heard()
        elif struck := self._struck(fault):
            outcome.pids = {pid for _, pid in struck}
            self.scene.kill(struck[0][0], *outcome.pids)
        return None

    def _stop(self, fault: Fault, outcome: Outcome) -> End:
        if fault.target == "server":
            heard = self._silence([0])
            with contextlib.suppress(ProcessLookupError):
                self.server.pause()

            def resume() -> None:
                with contextlib.suppress(ProcessLookupError):
                    self.server.resume()
                heard()

            return resume
        struck = self._struck(fault)
        for fleet, pid in struck:
            fleet.send(signal.SIGSTOP, pid)
        if fault.target == "supervisor":  # it is the one that keeps its workers' leases
            outcome.pids = set(self._machine(fault).fleet.worker_pids())
        else:
            outcome.pids = {pid for _, pid in struck}
        heard = self._silence(outcome.pids)

        def go_on() -> None:
            for fleet, pid in struck:
                fleet.send(signal.SIGCONT, pid)
            heard()

        return go_on

    def _cut(self, fault: Fault, outcome: Outcome) -> End:
        outcome.pids = self._workers(fault)
        self._network(fault).break_all()
        return None

    def _lose_requests(self, fault: Fault, outcome: Outcome) -> End:
        outcome.pids = self._workers(fault)
        self._network(fault).refuse(is_command("EVALSHA"), times=CALLS)
        return None

    def _lose_replies(self, fault: Fault, outcome: Outcome) -> End:
        outcome.pids = self._workers(fault)
        self._network(fault).lose_reply(is_command("EVALSHA"), times=CALLS)
        return None

    def _partition(self, fault: Fault, outcome: Outcome) -> End:
        network = self._network(fault)
        return self._shut(fault, outcome, [network.toward_server, network.toward_client])

    def _partition_up(self, fault: Fault, outcome: Outcome) -> End:
        return self._shut(fault, outcome, [self._network(fault).toward_server])

    def _partition_down(self, fault: Fault, outcome: Outcome) -> End:
        return self._shut(fault, outcome, [self._network(fault).toward_client])

    def _shut(self, fault: Fault, outcome: Outcome, gates: list[Gate]) -> End:
        outcome.pids = self._workers(fault)
        for gate in gates:
            gate.shut()
        heard = self._silence(outcome.pids)

        def heal() -> None:
            for gate in gates:
                gate.open()
            heard()

        return heal

    def _delay(self, fault: Fault, outcome: Outcome) -> End:
        outcome.pids = self._workers(fault)
        gates = [self._network(fault).toward_server, self._network(fault).toward_client]
        for gate in gates:
            gate.delay_s = DELAY_S

        def hurry() -> None:
            for gate in gates:
                gate.delay_s = 0.0

        return hurry

    def _jump(self, fault: Fault, outcome: Outcome) -> End:
        outcome.pids = self._workers(fault)
        self._machine(fault).jump(fault.by_s)
        return None

    def _flush_scripts(self, _fault: Fault, _outcome: Outcome) -> End:
        self._tell("SCRIPT", "FLUSH")
        return None

    def _hang_up(self, _fault: Fault, _outcome: Outcome) -> End:
        self._tell("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        return None

    def _fill_memory(self, _fault: Fault, _outcome: Outcome) -> End:
        self._tell("CONFIG", "SET", "maxmemory", "1mb")
        return lambda: self._tell("CONFIG", "SET", "maxmemory", "0")

    def _fill_disk(self, _fault: Fault, _outcome: Outcome) -> End:
        heard = self._silence([0])
        if self.server.alive():
            self.server.fill_disk()

        def free() -> None:
            if self.server.alive():
                self.server.free_disk()
            else:  # with `appendfsync always` it ends rather than answer for what it cannot keep
                self.server.restart()
            heard()

        return free

    def _workers(self, fault: Fault) -> set[int]:
        return set() if fault.target == "producer" else set(self._machine(fault).fleet.worker_pids())

    def _silence(self, pids: Collection[int]) -> Callable[[], None]:
        note = self.scene.tasks.recorder.note
        for pid in pids:
            note("silent", pid)

        def heard() -> None:
            for pid in pids:
                note("heard", pid)

        return heard

    def _tell(self, *words: str) -> None:
        with contextlib.suppress(redis.RedisError, OSError), self.server.admin(socket_timeout=1) as client:
            raw: Any = client
            raw.execute_command(*words)

    # -- the end ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """All faults end, the machines stand again, all jobs are worked off, the fleets end in good order."""
        while self._agenda:
            heapq.heappop(self._agenda)[2]()
        if not self.server.alive():
            self.server.restart()
        self._tell("CONFIG", "SET", "maxmemory", "0")

        def well() -> bool:
            for machine in self.machines:
                machine.revive()
            leased = [self.scene.leased(machine.fleet) for machine in self.machines]
            wanted = [machine.fleet.processes for machine in self.machines]
            whole = [*map(len, leased)] == wanted and len(self.scene.holders()) == sum(wanted)
            return whole and self.scene.is_drained()

        wait_until(well, CALM_S, self.output, ignoring=StoreError)
        for machine in self.machines:
            assert machine.fleet.terminate() == 0, machine.output()

    def problems(self) -> list[str]:
        """What must not have happened, and did."""
        found = self.scene.history()
        again = judge.unexplained(found, lease_ns=int(LEASE_S * S))
        runs = [run for number in sorted(again)[:3] for run in found.runs_of(number)]
        said: dict[str, Collection[Any]] = {
            "lost": judge.lost(found),
            "invented": judge.invented(found),
            "accepted twice": {number for number, times in found.accepted.items() if times > 1},
            f"ran again without cause: {runs}": again,
            "left behind": self.scene.leftovers(),
        }
        return [f"{what}: {sorted(which)[:10]}" for what, which in said.items() if which]

    def output(self) -> str:
        """What all fleets wrote, the end of it."""
        return "\n".join(f"-- {number}\n{one.output()[-5000:]}" for number, one in enumerate(self.machines))

    def close(self) -> None:
        """Kill whatever is left."""
        for machine in self.machines:
            machine.close()
        self.scene.close()
        self.front.close()
        self.server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
