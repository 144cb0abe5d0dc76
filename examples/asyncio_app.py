"""Async tasks, and an application that never blocks its event loop.

    ferryman worker examples/asyncio_app.py
    python examples/asyncio_app.py

All async jobs of a worker process share one event loop, so thousands of them may wait at a time.
"""

import asyncio

from ferryman import Ferryman, JobFailed, current_job

app = Ferryman()


@app.task(queue="probes", timeout=10, retry=None)
async def probe(host: str) -> float:
    """Pretends to measure how far away a host is; on time, or it is cancelled."""
    if "." not in host:
        raise ValueError(f"{host!r} is no host name")
    await asyncio.sleep(0.01)
    print(f"attempt {current_job().attempt} of {current_job().id}")
    return len(host) / 10


async def main() -> None:
    hosts = ["example.org", "example.net", "nowhere"]
    jobs = [await probe.aenqueue(host) for host in hosts]
    found = await asyncio.gather(*(job.aresult(timeout=10) for job in jobs), return_exceptions=True)
    for host, distance in zip(hosts, found, strict=True):
        if isinstance(distance, JobFailed):
            print(f"{host}: {distance.error}")
        else:
            print(f"{host}: {distance} ms")
    await app.aclose()


if __name__ == "__main__":
    asyncio.run(main())
