"""``ferryman worker``: run jobs. The work itself is done in `ferryman.worker`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Annotated, Literal

import typer

from ferryman import log
from ferryman.cli.companion import Companion
from ferryman.cli.display import stderr_line
from ferryman.cli.parameters import NeededModule
from ferryman.cli.typed import seconds
from ferryman.errors import InvalidOption
from ferryman.location import AppNotFound, dotted, find_app

Queues = Annotated[
    list[str] | None,
    typer.Option(
        "--queues", "-q", metavar="NAME[:WEIGHT],...", show_default=False,
        help="Which queues, first things first; weights share instead. Default: those of the module's tasks.",
    ),
]  # fmt: skip
Processes = Annotated[
    str, typer.Option("--processes", "-p", metavar="N|auto", help="Processes; auto: one for each core.")
]
Threads = Annotated[int, typer.Option("--threads", "-t", help="Sync jobs at a time, in each process.")]
Concurrency = Annotated[int, typer.Option("--concurrency", help="Async jobs at a time, in each process.")]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    typer.Option("--log-level", help="How much to say."),
]
LogFormat = Annotated[
    Literal["auto", "human", "json"],
    typer.Option("--log-format", help="auto: human lines on a terminal, else JSON."),
]


def command(
    module: NeededModule,
    queues: Queues = None,
    processes: Processes = "1",
    threads: Threads = 8,
    concurrency: Concurrency = 100,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long running jobs may go on after a signal to stop.")
    ] = "25s",
    max_jobs: Annotated[
        int, typer.Option("--max-jobs", help="Replace a process after about so many jobs; 0: never.")
    ] = 0,
    max_memory: Annotated[
        int, typer.Option("--max-memory", metavar="MB", help="Replace a process that is larger; 0: never.")
    ] = 0,
    burst: Annotated[bool, typer.Option("--burst", help="End when nothing is left to run.")] = False,
    name: Annotated[
        str, typer.Option("--name", help="Workers' names begin with it; default: the host.")
    ] = "",
    with_scheduler: Annotated[
        bool, typer.Option("--with-scheduler", help="Fire schedules too, in a process of its own.")
    ] = False,
    log_level: LogLevel = "info",
    log_format: LogFormat = "auto",
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Run jobs, in one or more supervised processes, until told to stop.

    TERM, INT: finish what runs, give back the rest; again: give back all now.
    TSTP: take nothing new; CONT: go on.
    HUP: replace the processes one by one.
    USR1, TTIN: print what each slot does.

    Example: [bold]ferryman worker shop.jobs -q critical,mail:3,default -p 4 -t 16[/bold]
    """
    from ferryman.worker.exitcodes import NO_APP
    from ferryman.worker.settings import WorkerSettings, check_platform, parse_queues
    from ferryman.worker.supervisor import run_fleet

    check_platform()
    try:
        location = prepare(module)
    except AppNotFound as error:
        stderr_line(str(error))
        raise typer.Exit(NO_APP) from None
    if with_parent:
        end_with_parent()
    settings = WorkerSettings(
        app=location,
        queues=parse_queues(",".join(queues or [])),
        processes=count_of(processes),
        threads=threads,
        concurrency=concurrency,
        grace_s=seconds(grace),
        max_jobs=max_jobs,
        max_memory_mb=max_memory,
        burst=burst,
        name=name,
        log_level=log_level,
        log_format=log_format,
    )
    log.configure(log_level, log_format)
    beside = _scheduler(location, log_level, log_format) if with_scheduler else contextlib.nullcontext()
    with beside:
        code = run_fleet(settings)
    raise typer.Exit(code)


def _scheduler(location: str, log_level: str, log_format: str) -> Companion:
    words = ["scheduler", location, "--with-parent", "--log-level", log_level, "--log-format", log_format]
    return Companion([sys.executable, "-m", "ferryman", *words], "scheduler")


def prepare(location: str) -> str:
    """Import the app, so that a mistake is said at once; gives the location as worker processes import it."""
    module, colon, attribute = location.partition(":")
    before = sys.path[:]
    find_app(location)
    found = dotted(module)
    known = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    added = [folder for folder in (os.getcwd(), *sys.path) if folder not in (*before, *known)]
    os.environ["PYTHONPATH"] = os.pathsep.join((*added, *known))
    return f"{found}{colon}{attribute}"


def count_of(processes: str) -> int:
    """How many processes ``4`` or ``auto`` means. Raises `InvalidOption`."""
    if processes == "auto":
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        return len(cores)
    if not processes.isdigit() or not int(processes):
        raise InvalidOption(f"--processes {processes!r} must be a number from 1, or auto")
    return int(processes)


def end_with_parent() -> None:
    """Stop in good order when the process that started us is gone, however it ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="ferryman-parent", daemon=True).start()
