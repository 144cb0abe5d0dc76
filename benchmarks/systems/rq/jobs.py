"""The jobs, apart from the producer: an RQ worker imports this module by the name in the job."""

from benchmarks import probe


def noop(number: int, name: str, amount: float) -> None:
    """Do nothing with three small arguments."""
    probe.done()


def mark(index: int) -> None:
    """Note when a latency sample's job began."""
    probe.started(index)
