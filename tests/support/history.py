"""What really happened to each job, written down outside of Redis, and pure functions that judge it.

Producers and tasks write one short line for each event to a file that they have open with O_APPEND: the
system puts such a line down whole, whoever else writes and whoever is killed the moment after. The time is
CLOCK_MONOTONIC, which all processes of a machine share. A job is known by the number that its producer gave
it as an argument, so a job that was enqueued twice by mistake shows as one that ran twice.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["offer", "accept", "start", "finish", "kill", "gone", "silent", "heard"]
MS = 1_000_000
S = 1_000 * MS
FOREVER_NS = 2**63


class Event(NamedTuple):
    """One line."""

    at_ns: int
    kind: Kind
    number: int
    """Which job; of `kill`, `gone`, `silent` and `heard`: which process, 0 for all."""
    pid: int
    attempt: int


class Recorder:
    """The writing side; any number of processes and threads may write at once."""

    def __init__(self, path: str | Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, kind: Kind, number: int, attempt: int = 0, *, at_ns: int = 0) -> None:
        """Write a line, of now unless `at_ns` says of when. Once this returns, it outlives the process."""
        line = f"{at_ns or time.monotonic_ns()} {kind} {number} {os.getpid()} {attempt}\n"
        os.write(self._fd, line.encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


@dataclass
class Run:
    """One execution of a job: from a start to the finish that belongs to it, if there is one."""

    number: int
    pid: int
    attempt: int
    started_ns: int
    finished_ns: int | None = None


@dataclass
class Kill:
    """A process was killed somewhen between two moments."""

    pid: int
    began_ns: int
    gone_ns: int


@dataclass
class Silence:
    """A process (0: every process) could not be heard: stopped, cut off, or the server was away."""

    pid: int
    began_ns: int
    ended_ns: int


@dataclass
class History:
    """Everything that was written down, sorted by kind."""

    offered: set[int] = field(default_factory=set)
    """Jobs whose enqueue had begun: with no answer they may be there or not."""
    accepted: Counter[int] = field(default_factory=Counter)
    """Jobs whose enqueue returned."""
    accepted_ns: list[int] = field(default_factory=list)
    """When it did."""
    runs: list[Run] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    strays: list[Event] = field(default_factory=list)
    """Finishes without a start."""

    def runs_of(self, number: int) -> list[Run]:
        """A job's executions, in order."""
        return [run for run in self.runs if run.number == number]

    def finished(self) -> set[int]:
        """Jobs that ran to their end at least once."""
        return {run.number for run in self.runs if run.finished_ns is not None}


def read(path: str | Path) -> History:
    """The history so far. A line that is being written just now is left for the next reading."""
    text = Path(path).read_bytes() if Path(path).exists() else b""
    return of(_event(line) for line in text[: text.rfind(b"\n") + 1].splitlines())


def starts(path: str | Path) -> int:
    """How many runs have begun so far, without reading what they are."""
    return Path(path).read_bytes().count(b" start ") if Path(path).exists() else 0


def _event(line: bytes) -> Event:
    at, kind, number, pid, attempt = line.decode().split()
    return Event(int(at), kind, int(number), int(pid), int(attempt))  # type: ignore[arg-type]


def of(events: Iterable[Event]) -> History:
    """The history that these events make."""
    found = History()
    open_runs: dict[tuple[int, int], list[Run]] = {}
    for event in sorted(events):
        if event.kind == "offer":
            found.offered.add(event.number)
        elif event.kind == "accept":
            found.accepted[event.number] += 1
            found.accepted_ns.append(event.at_ns)
        elif event.kind == "kill":
            found.kills.append(Kill(event.number, event.at_ns, event.at_ns + S))
        elif event.kind == "gone":
            next(kill for kill in found.kills if kill.pid == event.number).gone_ns = event.at_ns
        elif event.kind == "silent":
            found.silences.append(Silence(event.number, event.at_ns, FOREVER_NS))
        elif event.kind == "heard":
            open_ones = (
                one for one in found.silences if (one.pid, one.ended_ns) == (event.number, FOREVER_NS)
            )
            next(open_ones).ended_ns = event.at_ns
        elif event.kind == "start":
            run = Run(event.number, event.pid, event.attempt, event.at_ns)
            found.runs.append(run)
            open_runs.setdefault((event.number, event.pid), []).append(run)
        elif waiting := open_runs.get((event.number, event.pid)):
            waiting.pop(0).finished_ns = event.at_ns
        else:
            found.strays.append(event)
    return found


# -- judgements ----------------------------------------------------------------------------------------------


def lost(history: History) -> set[int]:
    """Accepted, and never finished."""
    return set(history.accepted) - history.finished()


def repeated(history: History) -> set[int]:
    """Jobs that were started more than once, for whatever reason."""
    times = Counter(run.number for run in history.runs)
    return {number for number, count in times.items() if count > 1}


def unexplained(history: History, *, unacknowledged_ns: int = S, lease_ns: int = FOREVER_NS) -> set[int]:
    """Jobs that ran again although nothing excuses it.

    A kill excuses the next run of what its process was running, and of what it had finished so shortly before
    that the acknowledgement may not have left the process. Nothing excuses a run that begins before the kill.
    A silence that may have cost the lease (more than half of one: it was last renewed some time before)
    excuses the same, until the process can have learnt of its loss.
    """
    killed: dict[int, list[tuple[int, int]]] = {}
    for kill in history.kills:
        killed.setdefault(kill.pid, []).append((kill.began_ns, kill.gone_ns))
    silent = _long_silences(history, lease_ns)
    found = set()
    for before, after in repetitions(history):
        spans = [*killed.get(before.pid, ()), *silent.get(before.pid, ()), *silent.get(0, ())]
        if not any(
            before.started_ns <= ended
            and after.started_ns >= began
            and (before.finished_ns is None or before.finished_ns > began - unacknowledged_ns)
            for began, ended in spans
        ):
            found.add(after.number)
    return found


def repetitions(history: History) -> Iterator[tuple[Run, Run]]:
    """Each run that was not its job's first, after the one before it."""
    by_number: dict[int, list[Run]] = {}
    for run in history.runs:
        by_number.setdefault(run.number, []).append(run)
    for runs in by_number.values():
        yield from itertools.pairwise(runs)


def _long_silences(history: History, lease_ns: int) -> dict[int, list[tuple[int, int]]]:
    """For each process that was silent, the spans in which it may have lost its lease, and the time after in
    which it may not know it. Silences between which no heartbeat need have come through are one.
    """
    of_all = [(one.began_ns, one.ended_ns) for one in history.silences if one.pid == 0]
    found = {}
    for pid in {one.pid for one in history.silences}:
        own = [(one.began_ns, one.ended_ns) for one in history.silences if one.pid == pid and pid]
        merged: list[tuple[int, int]] = []
        for began, ended in sorted([*own, *of_all]):
            if merged and began <= merged[-1][1] + lease_ns // 2:
                merged[-1] = (merged[-1][0], max(merged[-1][1], ended))
            else:
                merged.append((began, ended))
        found[pid] = [(began, ended + lease_ns) for began, ended in merged if ended - began > lease_ns // 2]
    return found


def invented(history: History) -> set[int]:
    """Jobs that ran, or finished, though nobody ever offered them, or that finished without a start."""
    ran = {run.number for run in history.runs} | {event.number for event in history.strays}
    return (ran - history.offered) | {event.number for event in history.strays}


def charged(history: History) -> set[int]:
    """Jobs one of whose runs counted as a further attempt."""
    return {run.number for run in history.runs if run.attempt > 1}


def broken_off(history: History, kill: Kill) -> set[int]:
    """What a killed process had begun and did not finish."""
    return {run.number for run in history.runs if run.pid == kill.pid and run.finished_ns is None}


def recovery_ms(history: History, kill: Kill) -> float | None:
    """How long until the first of what a killed process had been running ran again, elsewhere; None if it was
    running nothing.
    """
    victims = broken_off(history, kill)
    again = [run for run in history.runs if run.number in victims and run.pid != kill.pid]
    begun = [run.started_ns for run in again if run.started_ns > kill.began_ns]
    return (min(begun) - kill.began_ns) / MS if begun else None


def recoveries_ms(history: History) -> list[float]:
    """`recovery_ms` of each kill under which something ran."""
    found = (recovery_ms(history, kill) for kill in history.kills)
    return [milliseconds for milliseconds in found if milliseconds is not None]


def assert_nothing_lost(history: History, *, context: str = "") -> None:
    """Every accepted job finished, and nothing ran that nobody offered."""
    assert not lost(history), f"LOST {_some(lost(history))} {context}"
    assert not invented(history), f"invented {_some(invented(history))} {context}"


def assert_each_ran_once(
    history: History, *, context: str = "", except_for: Collection[int] = frozenset()
) -> None:
    """Nothing is lost, nothing ran twice."""
    assert_nothing_lost(history, context=context)
    twice = repeated(history) - set(except_for)
    shown = [run for number in sorted(twice)[:3] for run in history.runs_of(number)]
    assert not twice, f"RAN AGAIN {_some(twice)} {shown} {context}"
    assert not charged(history), f"charged an attempt: {_some(charged(history))} {context}"


def _some(numbers: set[int]) -> str:
    return f"{len(numbers)} jobs, among them {sorted(numbers)[:10]}"
