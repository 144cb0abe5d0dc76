"""What is to happen to a schedule whose tick has come due: pure arithmetic over its definition and the time.

A tick that is no later than the schedule's grace is *late* and fires like any other. What is later was
*missed*, and the misfire policy says what becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ferryman.schedules.definition import Definition, Ticks
from ferryman.schedules.timetable import latest

MOST_LATE = 1000
"""Late ticks fired at once, the newest: a schedule of every second with a grace of hours must not flood."""


class Plan(NamedTuple):
    """Which ticks fire, and where the hands stand then."""

    fire: Sequence[int]
    """Nominal times, oldest first."""
    made_up: bool
    """Whether these are made up for after a misfire."""
    missed: int
    """Ticks that are given up; at least so many, where there were too many to count."""
    missed_from: int
    """The nominal time of the first tick that was missed."""
    next_ms: int | None
    last_ms: int


def plan(definition: Definition, nominal_ms: int, now_ms: int) -> Plan:
    """What happens at `now_ms` with the ticks from `nominal_ms` on, whose due moments have come."""
    table = definition.table()
    following = table.after(nominal_ms)
    on_time = now_ms - table.due(nominal_ms) <= definition.grace_ms
    if on_time and (following is None or table.due(following) > now_ms):
        return Plan((nominal_ms,), False, 0, nominal_ms, following, nominal_ms)
    return _overdue(definition, table, nominal_ms, now_ms)


def _overdue(definition: Definition, table: Ticks, nominal_ms: int, now_ms: int) -> Plan:
    missed = now_ms - table.due(nominal_ms) > definition.grace_ms
    due = _due(table, nominal_ms, now_ms, MOST_LATE)
    last_ms = due[-1]
    following = table.after(last_ms)
    if not missed:
        return Plan(due, False, 0, nominal_ms, following, last_ms)
    if definition.misfire == "run_once":
        return Plan(due[-1:], True, len(due) - 1, nominal_ms, following, last_ms)
    if definition.misfire == "run_all":
        fire = due[-definition.catch_up :]
        return Plan(fire, True, len(due) - len(fire), nominal_ms, following, last_ms)
    fire = [at for at in due if now_ms - table.due(at) <= definition.grace_ms]
    return Plan(fire, False, len(due) - len(fire), nominal_ms, following, last_ms)


def _due(table: Ticks, nominal_ms: int, now_ms: int, most: int) -> Sequence[int]:
    """The newest nominal times from `nominal_ms` on whose due moments have come, oldest first."""
    found = [
        at for at in latest(table, now_ms, after_ms=nominal_ms - 1, most=most) if table.due(at) <= now_ms
    ]
    return found or [nominal_ms]
