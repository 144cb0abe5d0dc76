"""Schedules, ticks and leadership live here."""

if __name__ != "ferryman.scheduler":
    raise ImportError("import it as ferryman.scheduler")
