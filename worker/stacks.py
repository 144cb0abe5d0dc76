"""What every slot of a process is doing at this moment, as text: the answer to "why does it hang?"."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ferryman.worker.coroutines import Coroutines
from ferryman.worker.engine import Engine


def describe(engine: Engine) -> str:
    """The stack and the job of every slot that runs one; the idle ones are counted."""
    return "".join(_parts(engine))


def _parts(engine: Engine) -> Iterator[str]:
    frames = sys._current_frames()
    now, idle = time.monotonic_ns(), 0
    yield f"-- worker {engine.tenure.holder or '(no lease)'}\n"
    for slot in engine.slots:
        attempt = slot.current
        if attempt is None:
            idle += 1
            continue
        yield (
            f"-- thread {slot.number}: job {attempt.job_id} ({attempt.task.name}), "
            f"attempt {attempt.made + 1}, for {(now - attempt.started_ns) / 1e9:.1f} s\n"
        )
        frame = frames.get(slot.thread_id)
        if frame is not None:
            yield from traceback.format_stack(frame)
    if engine.coroutines is not None:
        for attempt, task in engine.coroutines.current():
            yield (
                f"-- coroutine: job {attempt.job_id} ({attempt.task.name}), attempt {attempt.made + 1}, "
                f"for {(now - attempt.started_ns) / 1e9:.1f} s\n"
            )
            yield from traceback.format_list(traceback.StackSummary.extract(_frames_of(task.get_coro())))
        yield from _blocked_loop(engine.coroutines, frames)
    yield f"-- {idle} idle threads; {len(engine.handover.ready)} jobs wait for one\n"


def _frames_of(awaited: Any) -> Iterator[tuple[FrameType, int]]:
    """The frames of a suspended coroutine, outermost first. `asyncio.Task.get_stack` knows the first alone,
    which is ours; where the task of the user stands is found by what each one awaits.
    """
    while awaited is not None:
        frame = _first(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            return
        yield frame, frame.f_lineno
        awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")


def _first(thing: object, *names: str) -> Any:
    return next((found for name in names if (found := getattr(thing, name, None)) is not None), None)


def _blocked_loop(coroutines: Coroutines, frames: dict[int, FrameType]) -> Iterator[str]:
    """The stack of the loop's thread, if a coroutine has it: a call that blocks there blocks all of them."""
    if not any(task.get_coro().cr_running for _, task in coroutines.current()):  # type: ignore[union-attr]
        return
    frame = frames.get(coroutines.thread_id)
    if frame is not None:
        yield "-- the event loop is inside one of them:\n"
        yield from traceback.format_stack(frame)
