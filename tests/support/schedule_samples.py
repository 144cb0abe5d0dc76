"""The transitions of schedules, once each, as `samples.py` has those of jobs; and all of them together."""

from __future__ import annotations

from ferryman.store import Store, scheduling
from ferryman.store.keys import FleetKeys, QueueKeys
from ferryman.store.scheduling import Entry, Firing
from tests.support.samples import SAMPLES, Sample

FAR_MS = 4_000_000_000_000
DAILY = "daily"
KEPT = {"schedules", "ticks", "hands", "owed", "fence", f"runs:{DAILY}"}
"""What a schedule keeps for as long as it is one."""


def keep_daily(store: Store, keys: QueueKeys) -> None:
    """A schedule whose tick is due."""
    store.run(scheduling.put_schedule(keys, DAILY, expected="", record=b"daily", hands="1", due_ms=1))


def _tick() -> Firing:
    entry = Entry("s1", 1, "tick", b"body s1")
    return Firing(DAILY, "hands", "1", "2", FAR_MS, None, "allow", None, None, [entry])


SCHEDULE_SAMPLES: dict[str, Sample] = {
    "lead": lambda keys: scheduling.lead(FleetKeys(keys.prefix), "sol", 60_000),
    "resign": lambda keys: scheduling.resign(FleetKeys(keys.prefix), "sol"),
    "schedule_get": lambda keys: scheduling.get_schedule(keys, DAILY),
    "schedule_put": lambda keys: scheduling.put_schedule(
        keys, DAILY, expected="1", record=b"changed", hands="3", due_ms=FAR_MS
    ),
    "schedule_drop": lambda keys: scheduling.drop_schedule(keys, DAILY),
    "look": lambda keys: scheduling.look(keys, 1, 60_000),
    "tick": lambda keys: scheduling.tick(keys, 1, [_tick()]),
    "put_off": lambda keys: scheduling.put_off(keys, 1, 60_000, [(DAILY, 1)]),
}
EVERY_STEP: dict[str, Sample] = {**SAMPLES, **SCHEDULE_SAMPLES}
