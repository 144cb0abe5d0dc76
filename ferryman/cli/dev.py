"""``ferryman dev``: everything on one machine, started again whenever the code changes."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ferryman import Ferryman, FerrymanError
from ferryman.cli.display import stderr_line
from ferryman.cli.parameters import NeededModule
from ferryman.cli.restarting import Restarting
from ferryman.cli.worker import Concurrency, LogLevel, Processes, Queues, Threads
from ferryman.location import find_app

FOLDER = ".ferryman"
GRACE_S = 5


def command(
    module: NeededModule,
    queues: Queues = None,
    processes: Processes = "1",
    threads: Threads = 8,
    concurrency: Concurrency = 100,
    log_level: LogLevel = "info",
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Start again when code changes.")
    ] = True,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            "--watch", metavar="DIR", help="Watch this; repeatable. Default: the current directory."
        ),
    ] = None,
) -> None:
    """Run everything on one machine: a Redis in ./.ferryman, workers, a scheduler, and a restart on each
    change.

    An app that says where its jobs are kept, or FERRYMAN_URL, goes before ./.ferryman.

    Example: [bold]ferryman dev shop.jobs[/bold]
    """
    store = bring_a_store(module)
    words = ["-p", processes, "-t", str(threads), "--concurrency", str(concurrency), "--log-level", log_level]
    for queue in queues or []:
        words += ["-q", queue]
    worker = [
        sys.executable,
        "-m",
        "ferryman",
        "worker",
        module,
        "--grace",
        str(GRACE_S),
        "--with-parent",
        "--with-scheduler",
        *words,
    ]
    # The dashboard is started here, next to the worker.
    if reload and importlib.util.find_spec("watchfiles") is None:
        stderr_line("no restart on changes: that needs watchfiles (pip install 'ferryman[reload]')")
        reload = False
    try:
        raise typer.Exit(Restarting(worker, watch or ["."], reload, GRACE_S + 10).run())
    finally:
        if store is not None:
            store.close()


def bring_a_store(module: str) -> Ferryman | None:
    """Where nobody has said where jobs are kept: in ./.ferryman, for this process and those it starts.

    A server that the app itself names is used, and one that it embeds stays up between two starts.
    """
    try:
        app = find_app(module)
    except FerrymanError:  # the worker will say it, and end
        return None
    if app.settings.sources["url"] == "default":
        folder = Path.cwd() / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        os.environ["FERRYMAN_URL"] = f"embedded://{folder}"
        stderr_line(
            f"jobs are kept in {folder} (FERRYMAN_URL is not set); for producers and other commands: "
            f"export FERRYMAN_URL={shlex.quote(os.environ['FERRYMAN_URL'])}"
        )
        app = Ferryman()
    if app.store.address.kind != "embedded":
        return None
    app.store.address.running_server()  # stays up while the workers are started again
    return app
