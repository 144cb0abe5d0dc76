"""How late ticks are enqueued, whatever number of schedules exists, and how fast ten thousand at once are.

Lateness is by the server's clock: from the due moment to the script that enqueued the job, as the schedules'
own histories have it. No worker runs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import psutil

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Record, percentile
from benchmarks.processes import start, stop
from benchmarks.session import Session
from benchmarks.systems.base import URL_VARIABLE, System
from ferryman import Ferryman
from ferryman.schedules.defining import define
from ferryman.schedules.definition import Definition
from ferryman.schedules.record import Hands, encode, read_run
from ferryman.schedules.record import Record as Kept
from ferryman.store import Link, Transition, scheduling

VARIANTS = ("few", "many", "storm")
BUSY, MANY, STORM = 20, 100_000, 10_000
WATCH_S = 30.0
STORM_IN_S = 20.0
_READY_S = 40.0
_MODULE = "benchmarks.systems.ferryman.scheduled:app"
_QUEUE = "bench"


def schedules(session: Session, _: System, variant: str) -> Record:
    """``few``: twenty schedules, each once a second, at twenty different moments. ``many``: the same among a
    hundred thousand that are due in a month. ``storm``: ten thousand that are due at the same moment.
    """
    session.server.clear()
    app = Ferryman(session.server.url, prefix="bench")
    app.task(name="noop")(lambda: None)
    try:
        return _storm(session, app) if variant == "storm" else _steady(session, app, variant == "many")
    finally:
        app.close()


def _steady(session: Session, app: Ferryman, many: bool) -> Record:
    busy = [
        define(
            app, "noop", name=f"busy-{number}", every=1, anchor=f"2026-01-01T00:00:00.{number * 50:03}Z",
            options={"queue": _QUEUE},
        )
        for number in range(BUSY)
    ]  # fmt: skip
    _keep(app, busy)
    others = int(MANY * session.scale.share) if many else 0
    _keep(app, _idle(app, others))
    scheduler = _scheduler(session)
    try:
        _wait_until_fired(app, busy[0].name)
        process = psutil.Process(scheduler.pid)
        cpu, redis, began = _cpu(process), session.server.reading(), app.store.server_ms()
        time.sleep(WATCH_S)
        cpu, redis = _cpu(process) - cpu, session.server.reading() - redis
        late = [by for one in busy for by in _lateness(app, one.name, began)]
    finally:
        stop([scheduler])
    expected = BUSY * WATCH_S
    if len(late) < expected * 0.9:
        raise BenchmarkError(f"only {len(late)} of some {expected:.0f} ticks were fired")
    return _figures(late) | {
        "schedules": BUSY + others,
        "scheduler_us": cpu / len(late) * 1e6,
        "redis_us": redis.cpu_s / len(late) * 1e6,
    }


def _storm(session: Session, app: Ferryman) -> Record:
    count = int(STORM * session.scale.share)
    due_ms = app.store.server_ms() + int(STORM_IN_S * 1000)
    moment = due_ms - due_ms % 1000
    plain = define(app, "noop", name="storm", cron="* * * * * *", options={"queue": _QUEUE})
    storm = [
        msgspec.structs.replace(plain, name=f"storm-{number}", start_ms=moment, end_ms=moment)
        for number in range(count)
    ]
    _keep(app, storm)
    scheduler = _scheduler(session)
    try:
        deadline = time.monotonic() + STORM_IN_S + _READY_S
        while len(app.queue(_QUEUE)) < count:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{len(app.queue(_QUEUE))} of {count} ticks of the storm were fired")
            time.sleep(0.05)
        late = [by for one in storm for by in _lateness(app, one.name, 0)]
        cpu = _cpu(psutil.Process(scheduler.pid))
    finally:
        stop([scheduler])
    return _figures(late) | {
        "schedules": count,
        "scheduler_us": cpu / count * 1e6,
        "ticks_per_s": count / max(max(late) / 1000, 0.001),
    }


def _figures(late: list[float]) -> Record:
    return {
        "samples": len(late),
        "late_p50_ms": percentile(late, 0.5),
        "late_p99_ms": percentile(late, 0.99),
        "late_max_ms": max(late),
    }


def _idle(app: Ferryman, count: int) -> Iterator[Definition]:
    plain = define(app, "noop", name="idle", every="30d", options={"queue": _QUEUE})
    for number in range(count):
        yield msgspec.structs.replace(plain, name=f"idle-{number}", anchor_ms=plain.every_ms // 2 + number)


def _keep(app: Ferryman, definitions: Iterator[Definition] | list[Definition]) -> None:
    """Keep many schedules in few round trips; an app would add them one by one."""
    store = app.store
    keys, link, now_ms = store.keys(_QUEUE), store.link(), store.server_ms()
    link.command("SADD", store.fleet_keys.scheduled_queues, _QUEUE)
    steps, index = [], []
    for definition in definitions:
        nominal = definition.table().after(now_ms)
        steps.append(
            scheduling.put_schedule(
                keys, definition.name, expected="", record=encode(Kept(base=definition)),
                hands=Hands(1, nominal).text(), due_ms=nominal,
            )
        )  # fmt: skip
        index += [definition.name, _QUEUE]
        if len(steps) == 500:
            _send(app, link, steps, index)
            steps, index = [], []
    if steps:
        _send(app, link, steps, index)
    link.close()


def _send(app: Ferryman, link: Link, steps: list[Transition[bool]], index: list[str]) -> None:
    link.pipeline(steps)
    link.command("HSET", app.store.fleet_keys.schedules, *index)


def _scheduler(session: Session) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ferryman", "scheduler", _MODULE]
    return start(
        command, log=session.folder / "scheduler.log", environment={URL_VARIABLE: session.server.url}
    )


def _wait_until_fired(app: Ferryman, name: str) -> None:
    deadline = time.monotonic() + _READY_S
    while not _lateness(app, name, 0):
        if time.monotonic() > deadline:
            raise BenchmarkError("the scheduler fires no ticks")
        time.sleep(0.05)


def _lateness(app: Ferryman, name: str, since_ms: int) -> list[float]:
    lines = app.store.pool.command("LRANGE", app.store.keys(_QUEUE).runs(name), 0, -1)
    found = [entry for entry in map(read_run, lines) if entry is not None and entry.nominal_ms >= since_ms]
    return [float(entry.at_ms - entry.nominal_ms) for entry in found]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
