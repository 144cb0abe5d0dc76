"""Mixed load and random faults for as long as one likes: ``make soak MINUTES=20``.

Jobs that are fast, slow, failing, delayed, prioritised, async or out of time run on two machines, while
faults of every kind strike at random. At the end everything is worked off and judged, from the history
outside of Redis: nothing lost, nothing run again without cause, no memory that grows. The report has a table
by fault and a picture.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import redis

from tests.chaos.arena import LEASE_S, Arena, Outcome
from tests.chaos.plot import Series, svg, terminal
from tests.chaos.scene import Load, Scene
from tests.chaos.schedule import SHAPES, draw_one
from tests.support import history as judge
from tests.support.history import History, S

MB = 1024 * 1024
SAMPLE_S, TICK_S, STALL_S = 2.0, 0.1, 0.7
DEAD_LIMIT = 200
PROMISES = {
    "kill worker": "its jobs run again at once, charged no attempt",
    "kill supervisor": "its workers end in good order; another starts",
    "kill machine": "its jobs run elsewhere when the lease has lapsed",
    "kill server": "nothing acknowledged is lost, all come back by themselves",
    "stop worker": "others take its jobs once the lease has lapsed; its late word is refused",
    "stop supervisor": "as above: its workers' leases lapse",
    "stop machine": "as above",
    "stop server": "all wait, and go on",
    "cut machine": "new connections; nothing is repeated",
    "cut producer": "calls repeat themselves, carried out once",
    "lose requests machine": "sent again",
    "lose requests producer": "sent again",
    "lose replies machine": "what was done counts once, what was fetched is found",
    "lose replies producer": "carried out once",
    "delay machine": "slower, nothing else",
    "delay producer": "slower, nothing else",
    "flush scripts server": "nobody notices",
    "hang up server": "nobody notices",
    "fill memory server": "producers see `StoreFull`, workers go on",
    "fill disk server": "the server ends; nothing acknowledged is lost",
}


class Mixed(Load):
    """Some hundred jobs a second of every kind there is."""

    pause_s = 0.08

    def __init__(self, scene: Scene, seed: int) -> None:
        super().__init__(scene, None, lambda _: (), backlog=400, seed=seed)

    def _produce(self) -> None:
        chance, tasks, enqueue = self._random, self._scene.tasks, self._scene.enqueue
        enqueue(tasks.work, [(chance.uniform(0.1, 3),) for _ in range(6)])
        enqueue(tasks.awork, [(chance.uniform(1, 100),) for _ in range(3)])
        enqueue(tasks.work.options(priority=chance.choice((-5, 5))), [(1,)])
        enqueue(tasks.work.options(delay=chance.uniform(0.1, 4)), [(1,)])
        rare: list[tuple[Any, tuple[Any, ...]]] = [
            (tasks.work, (chance.uniform(200, 800),)),
            (tasks.unsteady, ()),
            (tasks.doomed, ()),
            (tasks.overrun, ()),
            (tasks.value.options(result_ttl=20), (2,)),
        ]
        task, arguments = chance.choice(rare)
        enqueue(task, [arguments])


class Samples:
    """What is measured while it goes on: memory, jobs done, and whether the machine itself stood still.

    Whoever is not given a processor for a second or more keeps no lease either. When that happens to this
    thread, it goes into the history as a silence of everybody, which the judge takes into account.
    """

    def __init__(self, arena: Arena) -> None:
        self.redis_mb: list[tuple[float, float]] = []
        self.worker_mb: list[tuple[float, float]] = []
        """Of the largest process of the fleets."""
        self.jobs_s: list[tuple[float, float]] = []
        self.stalls = 0
        """How often the machine stood still."""
        self._arena = arena
        self._begin = self._last = time.monotonic()
        self._read = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)

    def __enter__(self) -> Samples:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        due = self._begin + SAMPLE_S
        note = self._arena.scene.tasks.recorder.note
        ticked_ns = time.monotonic_ns()
        while not self._stop.wait(TICK_S):
            before_ns, ticked_ns = ticked_ns, time.monotonic_ns()
            if ticked_ns - before_ns > STALL_S * S:
                self.stalls += 1
                note("silent", 0, at_ns=before_ns)
                note("heard", 0)
            now = time.monotonic()
            if now < due:
                continue
            due = now + SAMPLE_S
            at = now - self._begin
            self.jobs_s.append((at, self._finished() / (now - self._last)))
            self._last = now
            with contextlib.suppress(redis.RedisError, OSError):
                with self._arena.server.admin(socket_timeout=1) as client:
                    found: Any = client.info("memory")
                self.redis_mb.append((at, found["used_memory"] / MB))
            sizes = []
            for machine in self._arena.machines:
                for pid in machine.fleet.pids():
                    with contextlib.suppress(psutil.Error):
                        sizes.append(psutil.Process(pid).memory_info().rss / MB)
            if sizes:
                self.worker_mb.append((at, max(sizes)))

    def _finished(self) -> int:
        with open(self._arena.scene.path, "rb") as file:
            file.seek(self._read)
            found = file.read()
        self._read += len(found)
        return found.count(b" finish ")


def grown(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The median of the second and of the last fifth of a measurement: when all was warm, and at the end."""
    values = [value for _, value in points]
    fifth = max(len(values) // 5, 1)
    return statistics.median(values[fifth : 2 * fifth] or values), statistics.median(values[-fifth:])


def by_kind(outcomes: Sequence[Outcome], history: History) -> list[list[str]]:
    """The table's rows: fault, promise, how often, recovery p50 and most, lost, ran again."""
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        kinds.setdefault(kind_of(outcome), []).append(outcome)
    lost = blamed(outcomes, [(min(history.accepted_ns), 0)] * len(judge.lost(history)))
    again = blamed(outcomes, [(after.started_ns, before.pid) for before, after in judge.repetitions(history)])
    rows = []
    for kind in sorted(kinds):
        times = [one.recovery_ms(history) for one in kinds[kind]]
        found = sorted(milliseconds for milliseconds in times if milliseconds is not None)
        shown = [f"{statistics.median(found):.0f} ms", f"{found[-1]:.0f} ms"] if found else ["-", "-"]
        promise = PROMISES.get(kind, "what waits at the cut is delivered late and does no harm")
        rows.append(
            [kind, promise, str(len(kinds[kind])), *shown, str(lost.get(kind, 0)), str(again.get(kind, 0))]
        )
    return rows


def kind_of(outcome: Outcome) -> str:
    """As the table calls it."""
    return f"{outcome.fault.what} {outcome.fault.target}"


def blamed(outcomes: Sequence[Outcome], moments: Sequence[tuple[int, int]]) -> dict[str, int]:
    """For each kind of fault, of how many of these (moment, process) it was the last possible reason."""
    found: dict[str, int] = {}
    for at, pid in moments:
        suspects = [one for one in outcomes if one.began_ns <= at and (not one.pids or pid in one.pids)]
        kind = kind_of(max(suspects, key=lambda one: one.began_ns)) if suspects else "none"
        found[kind] = found.get(kind, 0) + 1
    return found


def run(minutes: float, seed: int, report: Path, directory: Path) -> list[str]:
    """Soak; what must not have happened and did. Writes ``soak.md`` and ``soak.svg`` into `report`."""
    chance = random.Random(seed)
    with Arena(directory, f"soak-{secrets.token_hex(4)}", dead_limit=DEAD_LIMIT) as arena:
        begin_ns, begin = time.monotonic_ns(), time.monotonic()
        with Samples(arena) as samples:
            with Mixed(arena.scene, seed) as load:
                next_fault = begin + 1
                while (now := time.monotonic()) < begin + minutes * 60:
                    if now >= next_fault:
                        fault = draw_one(chance, SHAPES)
                        arena.begin(fault)
                        next_fault = now + fault.for_s + chance.uniform(0.5, 4)
                    arena.tend()
                    time.sleep(0.02)
            arena.settle()
        arena.scene.app.queue(arena.scene.queue).purge("dead")
        problems, history = arena.problems(), arena.scene.history()
        seconds = time.monotonic() - begin
        for name, points, room_mb in (("Redis", samples.redis_mb, 4), ("a worker", samples.worker_mb, 20)):
            warm, last = grown(points)
            if last > warm * 1.3 + room_mb:
                problems.append(f"the memory of {name} grew from {warm:.1f} to {last:.1f} MB")
        recoveries = [
            ((one.ended_ns - begin_ns) / S, milliseconds)
            for one in arena.outcomes
            if (milliseconds := one.recovery_ms(history)) is not None
        ]
        _write(
            report, arena.outcomes, history, samples, recoveries, seconds, begin_ns, seed, len(load.refused)
        )
    for problem in problems:
        print(f"PROBLEM {problem}")  # noqa: T201
    return problems


def _write(
    report: Path,
    outcomes: Sequence[Outcome],
    history: History,
    samples: Samples,
    recoveries: Sequence[tuple[float, float]],
    seconds: float,
    begin_ns: int,
    seed: int,
    refused: int,
) -> None:
    report.mkdir(parents=True, exist_ok=True)
    drawn = [
        Series("throughput", "jobs/s", samples.jobs_s, "#1f77b4"),
        Series("recovery after each fault", "ms", recoveries, "#d62728", dots=True),
        Series("memory of Redis", "MB", samples.redis_mb, "#2ca02c"),
        Series("memory of the largest process", "MB", samples.worker_mb, "#9467bd"),
    ]
    again = sum(1 for _ in judge.repetitions(history))
    causeless = len(judge.unexplained(history, lease_ns=int(LEASE_S * S)))
    redis_warm, redis_last = grown(samples.redis_mb)
    worker_warm, worker_last = grown(samples.worker_mb)
    summary = (
        f"{seconds / 60:.0f} minutes (seed {seed}): {len(history.accepted)} jobs accepted, "
        f"{len(outcomes)} faults, {len(judge.lost(history))} lost, {again} runs repeated, {causeless} of "
        f"them without cause; {refused} calls refused to the producer; the machine itself stood still "
        f"{samples.stalls} times. Memory of Redis {redis_warm:.1f} MB "
        f"when warm, {redis_last:.1f} MB at the end; of the largest process {worker_warm:.1f} and "
        f"{worker_last:.1f} MB."
    )
    heads = ["fault", "promise", "times", "recovery p50", "most", "lost", "ran again"]
    lines = [heads, ["---"] * len(heads), *by_kind(outcomes, history)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    marks = [(outcome.began_ns - begin_ns) / S for outcome in outcomes]
    (report / "soak.svg").write_text(svg("Mixed load under random faults", drawn, marks, seconds))
    (report / "soak.md").write_text(f"{summary}\n\n{table}\n")
    for line in (summary, "", table, "", *(terminal(one, seconds) for one in drawn)):
        print(line)  # noqa: T201


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="mixed load and random faults")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--report", type=Path, default=Path("build/soak"), help="a folder for soak.md and soak.svg"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm-soak-") as directory:
        return 1 if run(asked.minutes, asked.seed, asked.report, Path(directory)) else 0


if __name__ == "__main__":
    sys.exit(main())
