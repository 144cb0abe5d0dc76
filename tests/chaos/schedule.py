"""Fault schedules: what is done to whom and when, as values and as text, from a seed, shrunk when they fail.

    schedule = draw(seed=7, count=6)
    print(schedule)                     # one fault a line, as in "at 1.250s stop machine 1 for 2.500s"
    assert parse(str(schedule)) == schedule
    minimal = shrink(schedule, fails, budget_s=60)

Nothing here touches a process: `tests/chaos/arena.py` carries a schedule out.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

What = Literal[
    "kill", "stop", "cut", "lose requests", "lose replies", "partition", "partition up", "partition down",
    "delay", "jump", "flush scripts", "hang up", "fill memory", "fill disk",
]  # fmt: skip
Target = Literal["worker", "supervisor", "machine", "producer", "server", "clock"]


class Shape(NamedTuple):
    """Which faults of a kind there can be."""

    targets: tuple[Target, ...]
    longest_s: float = 0.0
    """0: it is over at once."""
    weight: int = 1


SHAPES: dict[What, Shape] = {
    "kill": Shape(("worker", "supervisor", "machine", "server"), weight=4),
    "stop": Shape(("worker", "supervisor", "machine", "server"), 4.0, 3),
    "cut": Shape(("machine", "producer")),
    "lose requests": Shape(("machine", "producer"), weight=2),
    "lose replies": Shape(("machine", "producer"), weight=2),
    "partition": Shape(("machine", "producer"), 4.0),
    "partition up": Shape(("machine", "producer"), 4.0),
    "partition down": Shape(("machine", "producer"), 4.0),
    "delay": Shape(("machine", "producer"), 3.0),
    "flush scripts": Shape(("server",)),
    "hang up": Shape(("server",)),
    "fill memory": Shape(("server",), 2.0),
    "fill disk": Shape(("server",), 2.0),
}
"""What happens to one server and the machines around it. Clocks that `jump` have a test of their own, since
only machines under libfaketime have any.
"""


@dataclass(frozen=True)
class Fault:
    """One fault. `at_s` counts from the schedule's begin; with `runs`, it waits for so many starts."""

    what: What
    target: Target
    number: int = 0
    """Which of the targets, counted from 0 and around."""
    at_s: float = 0.0
    runs: int = 0
    for_s: float = 0.0
    by_s: int = 0
    """Of `jump`: how far the clock is set."""

    def __str__(self) -> str:
        words = [f"after {self.runs} runs" if self.runs else f"at {self.at_s:.3f}s", self.what, self.target]
        if self.target not in {"server", "producer"}:
            words.append(str(self.number))
        if self.for_s:
            words.append(f"for {self.for_s:.3f}s")
        if self.by_s:
            words.append(f"by {self.by_s:+d}s")
        return " ".join(words)


@dataclass(frozen=True)
class Schedule:
    """Faults in their order."""

    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    def __len__(self) -> int:
        return len(self.faults)


_LINE = re.compile(
    r"(?:at (?P<at>\d+(?:\.\d+)?)s|after (?P<runs>\d+) runs)"
    rf" (?P<what>{'|'.join(sorted(get_args(What), key=len, reverse=True))})"
    rf" (?P<target>{'|'.join(get_args(Target))})(?: (?P<number>\d+))?"
    r"(?: for (?P<for>\d+(?:\.\d+)?)s)?(?: by (?P<by>[+-]\d+)s)?"
)


def parse(text: str) -> Schedule:
    """A schedule from its text: faults on lines of their own or between semicolons; `#` begins a remark.

    Raises `ValueError` for a line that is no fault.
    """
    faults: list[Fault] = []
    for line in re.split(r"[;\n]", text):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        match = _LINE.fullmatch(words)
        if match is None:
            raise ValueError(f"not a fault: {words!r}")
        found: dict[str, Any] = match.groupdict()
        faults.append(
            Fault(
                found["what"],
                found["target"],
                int(found["number"] or 0),
                float(found["at"] or 0),
                int(found["runs"] or 0),
                float(found["for"] or 0),
                int(found["by"] or 0),
            )
        )
    return Schedule(tuple(faults))


def draw(
    seed: int, *, count: int, spread_s: float, shapes: dict[What, Shape] = SHAPES, first_s: float = 0.5
) -> Schedule:
    """`count` random faults within `spread_s` seconds; the same for the same seed."""
    chance = random.Random(seed)
    moments = sorted(round(first_s + chance.uniform(0, spread_s), 3) for _ in range(count))
    return Schedule(tuple(replace(draw_one(chance, shapes), at_s=at) for at in moments))


def draw_one(chance: random.Random, shapes: dict[What, Shape] = SHAPES) -> Fault:
    """One random fault, at no particular time."""
    [what] = chance.choices(list(shapes), [shape.weight for shape in shapes.values()])
    shape = shapes[what]
    for_s = round(chance.uniform(0.2, shape.longest_s), 3) if shape.longest_s else 0.0
    target = chance.choice(shape.targets)
    number = 0 if target in ("server", "producer") else chance.randrange(8)
    return Fault(what, target, number, for_s=for_s)


def chosen(drawn: Callable[[int], Schedule], seed: int) -> Schedule:
    """The schedule to carry out: the one drawn from `seed`, or from ``FERRYMAN_CHAOS_SEED``, or the text in
    ``FERRYMAN_CHAOS_SCHEDULE``.
    """
    text = os.environ.get("FERRYMAN_CHAOS_SCHEDULE")
    return parse(text) if text else drawn(int(os.environ.get("FERRYMAN_CHAOS_SEED", seed)))


def shrink(
    schedule: Schedule,
    fails: Callable[[Schedule], bool],
    *,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Schedule:
    """The smallest part of a failing schedule, in the same order, that was still seen to fail.

    Delta debugging (Zeller and Hildebrandt, 2002): leave out ever smaller pieces for as long as the rest
    fails. No new trial begins after `budget_s` seconds; what was found by then is returned.
    """
    deadline = clock() + budget_s
    faults, pieces = list(schedule), 2
    while len(faults) >= 2 and pieces <= len(faults):
        for rest in _without_a_piece(faults, pieces):
            if clock() >= deadline:
                return Schedule(tuple(faults))
            if fails(Schedule(tuple(rest))):
                faults, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if pieces == len(faults):
                break
            pieces = min(pieces * 2, len(faults))
    return Schedule(tuple(faults))


def _without_a_piece(faults: Sequence[Fault], pieces: int) -> Iterator[list[Fault]]:
    bounds = [len(faults) * piece // pieces for piece in range(pieces + 1)]
    for first, last in itertools.pairwise(bounds):
        yield [*faults[:first], *faults[last:]]
