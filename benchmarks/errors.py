"""What can go wrong in a benchmark run."""


class BenchmarkError(Exception):
    """A run could not be finished: the message says which system, what was awaited and where the log is."""
