"""Supervisor, worker process, threads and event loop, leases, timeouts and recovery live here."""

if __name__ != "ferryman.worker":
    raise ImportError("import it as ferryman.worker")
