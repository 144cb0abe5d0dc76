"""From a plan to what the tick script is told."""

from __future__ import annotations

from ferryman.scheduler.plan import plan
from ferryman.scheduler.prospect import Ready
from ferryman.schedules import jobs
from ferryman.schedules.definition import Definition, Ticks
from ferryman.schedules.keeping import KEEP_ENDED_MS
from ferryman.schedules.record import Hands
from ferryman.store.scheduling import Entry, Firing

FRESH = "fresh"


def firing(ready: Ready, now_ms: int, *, fresh: bool = False) -> Firing:
    """What happens at `now_ms`. `fresh`: the last success is so young that nothing is to run."""
    definition, hands = ready.definition, ready.hands
    table = definition.table()
    planned = plan(definition, ready.nominal_ms, now_ms)
    entries = []
    if planned.missed:
        entries.append(Entry("-", planned.missed_from, f"missed:{planned.missed}"))
    if fresh:
        entries += [Entry("-", nominal, FRESH) for nominal in planned.fire[-1:]]
    else:
        kind = "late" if planned.made_up else "tick"
        before = hands.last_ms
        for place, nominal in enumerate(planned.fire):
            last = place == len(planned.fire) - 1
            following = planned.next_ms if last and nominal == planned.last_ms else table.after(nominal)
            entries.append(
                jobs.entry(
                    definition, nominal, kind, now_ms, previous_ms=previous(table, nominal, before),
                    next_ms=following,
                )
            )  # fmt: skip
            before = nominal
    moved = Hands(hands.version, planned.next_ms, planned.last_ms)
    next_due = now_ms + KEEP_ENDED_MS if planned.next_ms is None else table.due(planned.next_ms)
    return Firing(
        ready.name, "hands", hands.text(), moved.text(), next_due, ready.due_ms, definition.overlap,
        jobs.priority_of(definition), definition.duration_ms, entries,
    )  # fmt: skip


def owed_firing(definition: Definition, nominal_ms: int, now_ms: int) -> Firing:
    """The tick that waited for the run before it."""
    table = definition.table()
    entry = jobs.entry(
        definition, nominal_ms, "tick", now_ms, previous_ms=table.before(nominal_ms),
        next_ms=table.after(nominal_ms),
    )  # fmt: skip
    return Firing(
        definition.name, "owed", str(nominal_ms), "", None, None, "queue_one",
        jobs.priority_of(definition), definition.duration_ms, [entry],
    )  # fmt: skip


def previous(table: Ticks, nominal_ms: int, guess_ms: int | None) -> int | None:
    """The nominal time before; usually the one that was fired last, which saves looking for it."""
    if guess_ms is not None and table.after(guess_ms) == nominal_ms:
        return guess_ms
    return table.before(nominal_ms)


def following(ready: Ready, done: Firing) -> Ready | None:
    """The schedule with its next tick, after one was fired."""
    hands = Hands.read(done.moved)
    if hands.next_ms is None or done.next_due_ms is None:
        return None
    return Ready(ready.name, done.next_due_ms, ready.definition, hands)
