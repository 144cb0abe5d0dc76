"""The floor's worker: `python -m benchmarks.systems.floor.worker`. Runs until it is ended."""

import os
from typing import Any, cast

import msgspec
import redis

from benchmarks import probe
from benchmarks.systems.base import URL_VARIABLE
from benchmarks.systems.floor import scripts


def noop(number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


_TASKS: dict[str, Any] = {"noop": noop, "mark": probe.started}


def main() -> None:
    """Fetch, run, acknowledge; wait on the bell when there is nothing."""
    server: redis.Redis = redis.Redis.from_url(os.environ[URL_VARIABLE])
    fetch = str(server.script_load(scripts.FETCH))
    ack = str(server.script_load(scripts.ACK))
    decode = msgspec.msgpack.Decoder().decode
    held = f"{scripts.HELD}{os.getpid()}"
    while True:
        reply = server.evalsha(fetch, 4, scripts.READY, scripts.JOBS, scripts.BELL, held, str(scripts.BATCH))
        if reply is None:
            server.blpop([scripts.BELL], timeout=5)
            continue
        ids, bodies = cast(tuple[list[bytes], list[bytes]], reply)
        for body in bodies:
            _, name, args = decode(body)
            _TASKS[name](*args)
        server.evalsha(ack, 2, scripts.JOBS, held, *ids)


if __name__ == "__main__":
    main()
