"""SAQ."""

from benchmarks.systems.base import System, repeated

SYSTEMS = (
    System(
        name="saq",
        distribution="saq",
        environment="saq",
        app="benchmarks.systems.saq.app",
        workers=lambda crew: repeated([crew.program("saq"), "benchmarks.systems.saq.app.settings"], crew),
        settings="concurrency 10 (default), retries 3 (without them a swept job is aborted), ttl -1 "
        "(keep no result)",
        survives_a_kill=True,
        jobs=6_000,
        singles=4_000,
        delays=True,
    ),
)
