"""The producer process of a run: `python -m benchmarks.producer APP`, driven by JSON lines on its input.

A request names a loop and its numbers, `{"do": "each", "count": 2000}`; the answer gives the wall time and
the CPU time that the loop took, in seconds, or the traceback of what failed. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import sys
import time
import traceback
from typing import Any, TextIO

from benchmarks.producing import AsyncProducer, SyncProducer

_Request = dict[str, Any]


def _gaps(request: _Request) -> list[float]:
    shortest, longest = request["gap_s"]
    chance = random.Random(request["seed"])
    return [chance.uniform(shortest, longest) for _ in range(request["count"])]


def _delays(request: _Request) -> list[float]:
    shortest, longest = request["delay_s"]
    chance = random.Random(request["seed"] + 1)
    return [chance.uniform(shortest, longest) for _ in range(request["count"])]


def _obey(producer: SyncProducer, request: _Request) -> dict[str, Any]:
    match request["do"]:
        case "each":
            producer.each(request["count"])
        case "bulk":
            producer.bulk(request["count"])
        case "later":
            producer.later(request["count"], request["delay_s"])
        case "marks":
            for index, gap in enumerate(_gaps(request)):
                time.sleep(gap)
                producer.mark(index)
        case "marks_later":
            delays = _delays(request)
            for index, (gap, delay) in enumerate(zip(_gaps(request), delays, strict=True)):
                time.sleep(gap)
                producer.mark_later(index, delay)
            return {"delays_s": delays}
    return {}


async def _obey_async(producer: AsyncProducer, request: _Request) -> dict[str, Any]:
    match request["do"]:
        case "each":
            await producer.each(request["count"])
        case "bulk":
            await producer.bulk(request["count"])
        case "later":
            await producer.later(request["count"], request["delay_s"])
        case "marks":
            for index, gap in enumerate(_gaps(request)):
                await asyncio.sleep(gap)
                await producer.mark(index)
        case "marks_later":
            delays = _delays(request)
            for index, (gap, delay) in enumerate(zip(_gaps(request), delays, strict=True)):
                await asyncio.sleep(gap)
                await producer.mark_later(index, delay)
            return {"delays_s": delays}
    return {}


def _answer(outcome: dict[str, Any], began: tuple[float, float], answers: TextIO) -> None:
    wall, cpu = began
    took = {"seconds": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    print(json.dumps(took | outcome), file=answers, flush=True)


def _serve(producer: SyncProducer, answers: TextIO) -> None:
    for line in sys.stdin:
        began = time.perf_counter(), time.process_time()
        try:
            outcome = _obey(producer, json.loads(line))
        except Exception:  # noqa: BLE001 - any error is the answer, whatever the system raises
            outcome = {"error": traceback.format_exc()}
        _answer(outcome, began, answers)


async def _serve_async(producer: AsyncProducer, answers: TextIO) -> None:
    async with producer.connected():
        for line in sys.stdin:
            began = time.perf_counter(), time.process_time()
            try:
                outcome = await _obey_async(producer, json.loads(line))
            except Exception:  # noqa: BLE001 - any error is the answer, whatever the system raises
                outcome = {"error": traceback.format_exc()}
            _answer(outcome, began, answers)


def main() -> None:
    """Serve requests until the input ends."""
    # Answers have a descriptor of their own: whatever a library prints goes to the log instead.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    producer: SyncProducer | AsyncProducer = importlib.import_module(sys.argv[1]).PRODUCER
    if isinstance(producer, AsyncProducer):
        asyncio.run(_serve_async(producer, answers))
    else:
        _serve(producer, answers)


if __name__ == "__main__":
    main()
