"""What every slot of a process is doing at this moment, as text: the answer to "why does it hang?"."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator

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
            for frame in task.get_stack():
                yield from traceback.format_stack(frame, limit=1)
    yield f"-- {idle} idle threads; {len(engine.handover.ready)} jobs wait for one\n"
