"""What it costs to wait until a job is on replicas or on disk. Servers of its own, started for each run."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Record
from benchmarks.server import Server
from benchmarks.session import Session
from ferryman import Ferryman

# variant: replicas, appendfsync, durability
_SETUPS = {
    "memory": (0, "", "memory"),
    "memory, append-only file": (0, "everysec", "memory"),
    "replicated:1": (1, "", "replicated:1"),
    "replicated:2": (2, "", "replicated:2"),
    "fsync, everysec": (0, "everysec", "fsync"),
    "fsync, always": (0, "always", "fsync"),
}
VARIANTS = tuple(_SETUPS)
THREADS = 32
_SECONDS = 2.0
_READY_S = 20.0


def durability(session: Session, variant: str) -> Record:
    """One run of one variant: for about two seconds by one thread, and as long by many."""
    replicas, sync, level = _SETUPS[variant]
    with _servers(replicas, sync) as url:
        app = Ferryman(url, prefix="durability", durability=level)

        @app.task
        def nothing(number: int) -> None: ...

        def calls(number: int) -> list[float]:
            taken, until = [], time.perf_counter() + _SECONDS * min(session.scale.share, 1.0)
            while (began := time.perf_counter()) < until:
                nothing.enqueue(number)
                taken.append(time.perf_counter() - began)
            return taken

        nothing.enqueue(0)
        single = calls(1)
        with ThreadPoolExecutor(THREADS) as pool:
            began = time.perf_counter()
            many = sum(map(len, pool.map(calls, range(THREADS))))
            spent = time.perf_counter() - began
        app.close()
    single.sort()
    return {
        "p50_ms": statistics.median(single) * 1e3,
        "p99_ms": single[int(len(single) * 0.99)] * 1e3,
        "single_per_s": len(single) / sum(single),
        "threads_per_s": many / spent,
        "calls": len(single),
    }


@contextlib.contextmanager
def _servers(replicas: int, sync: str) -> Iterator[str]:
    """A primary with its replicas, all in step."""
    with contextlib.ExitStack() as stack:

        def started(*options: str, append_only: bool = False) -> Server:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            return stack.enter_context(Server(folder, append_only=append_only, wheel=True, options=options))

        primary = started(
            *(("--appendfsync", sync) if sync else ()),
            "--repl-diskless-sync-delay", "0",
            append_only=bool(sync),
        )  # fmt: skip
        for _ in range(replicas):
            started("--replicaof", f"127.0.0.1 {primary.port}")
        deadline = time.monotonic() + _READY_S
        while primary.redis.wait(replicas, 1000) < replicas:
            if time.monotonic() > deadline:
                raise BenchmarkError("the replicas did not come into step")
        yield primary.url
