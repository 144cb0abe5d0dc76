"""``ferryman bench``: how fast are this Redis and Ferryman, here and now?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ferryman import Ferryman
from ferryman.cli.display import print_json, show, table, text
from ferryman.cli.measure import Bench, Figures
from ferryman.cli.parameters import AsJson, Module, Prefix, Url
from ferryman.errors import ConfigurationError
from ferryman.location import find_app


def command(
    module: Module = None,
    jobs: Annotated[int, typer.Option("--jobs", min=100, max=1_000_000, help="How many, at most.")] = 20_000,
    limit_s: Annotated[
        float, typer.Option("--seconds", min=1, max=600, help="How long each part may take, at most.")
    ] = 5.0,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Measure this Redis and Ferryman on a throwaway queue, with one worker inside this process.

    Takes a few seconds, and loads Redis while it lasts. Example: [bold]ferryman bench[/bold]
    """
    chosen = find_app(module, url=url, prefix=prefix).settings
    if chosen.url.startswith("memory:"):
        raise ConfigurationError("bench measures a server, and memory:// has none: name one with --url")
    app = Ferryman(chosen.url, prefix=chosen.prefix)
    bench = Bench(app, jobs, limit_s)
    try:
        figures = bench.measure()
    finally:
        bench.clean_up()
        app.close()
    if as_json:
        print_json(asdict(figures))
    else:
        _render(figures)


def _render(figures: Figures) -> None:
    rows = [
        ["round trip (PING)", f"p50 {figures.ping_p50_ms} ms, p99 {figures.ping_p99_ms} ms"],
        ["enqueue, one by one", f"{figures.enqueue_one_per_s:,.0f} jobs/s from one thread"],
        ["enqueue, in bulk", f"{figures.enqueue_bulk_per_s:,.0f} jobs/s"],
        [
            "run and acknowledge",
            f"{figures.drain_per_s:,.0f} jobs/s in one process ({figures.jobs:,} empty jobs)",
        ],
        [
            "enqueue to start",
            f"p50 {figures.latency_p50_ms} ms, p99 {figures.latency_p99_ms} ms, idle worker",
        ],
    ]
    show(table(["what", "measured"], rows, wraps=["measured"]), text(""))
    show("Empty jobs: yours take longer. ferryman doctor says whether this Redis is fit to hold jobs.")
