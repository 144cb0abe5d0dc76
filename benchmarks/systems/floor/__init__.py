"""The floor: the least that a Redis queue with leases can do, without any of the guarantees around it."""

from benchmarks.systems.base import System, repeated

SYSTEMS = (
    System(
        name="floor",
        distribution="redis",
        environment=None,
        app="benchmarks.systems.floor.app",
        workers=lambda crew: repeated([crew.python, "-m", "benchmarks.systems.floor.worker"], crew),
        settings="a bare loop: one script fetches 500 ids and bodies, msgpack decodes, the function is "
        "called, one "
        "script acknowledges; no threads, retries, timeouts, heartbeat or recovery. A single enqueue is "
        "one bare "
        "EVALSHA round trip",
        survives_a_kill=False,
        jobs=500_000,
        singles=8_000,
        bulk="one script, 500 jobs a call",
    ),
)
