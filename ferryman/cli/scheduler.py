"""``ferryman scheduler``: fire the ticks of schedules. The work itself is done in `ferryman.scheduler`."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman import log
from ferryman.cli.display import stderr_line
from ferryman.cli.parameters import NeededModule
from ferryman.cli.typed import seconds
from ferryman.cli.worker import LogFormat, LogLevel, end_with_parent, prepare
from ferryman.location import AppNotFound

Files = Annotated[
    list[str] | None,
    typer.Option("--file", "-f", metavar="TOML", help="Schedules from a file, too; repeatable."),
]


def command(
    module: NeededModule,
    file: Files = None,
    lease: Annotated[
        str, typer.Option(metavar="TIME", help="A scheduler that is silent for so long is replaced.")
    ] = "5s",
    log_level: LogLevel = "info",
    log_format: LogFormat = "auto",
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Fire schedules, until told to stop. Run as many as you like: one leads, the others stand by.

    Example: [bold]ferryman scheduler shop.jobs --file schedules.toml[/bold]
    """
    from ferryman.scheduler.exitcodes import NO_APP
    from ferryman.scheduler.process import run_scheduler
    from ferryman.scheduler.settings import SchedulerSettings

    try:
        location = prepare(module)
    except AppNotFound as error:
        stderr_line(str(error))
        raise typer.Exit(NO_APP) from None
    if with_parent:
        end_with_parent()
    settings = SchedulerSettings(app=location, files=tuple(file or ()), lease_s=seconds(lease))
    log.configure(log_level, log_format)
    raise typer.Exit(run_scheduler(settings))
