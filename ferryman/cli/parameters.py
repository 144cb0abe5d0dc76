"""Options and arguments that several commands share, so that they read alike everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.app import Ferryman
from ferryman.location import find_app

Module = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODULE]",
        envvar="FERRYMAN_APP",
        help="The module with the app, MODULE or MODULE:app, by its dotted name or path. "
        "Not needed where a URL says enough.",
        show_default=False,
        show_envvar=True,
    ),
]
NeededModule = Annotated[
    str,
    typer.Argument(
        metavar="MODULE[:APP]",
        envvar="FERRYMAN_APP",
        help="The module with the app and its tasks, by its dotted name or path.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        "-u",
        help="Where jobs are kept. Goes before the app's own URL and FERRYMAN_URL.",
        show_default=False,
    ),
]
Prefix = Annotated[
    str | None, typer.Option("--prefix", help="What every key in Redis begins with.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most so many.")]
QueueName = Annotated[str, typer.Argument(metavar="NAME", help="The queue.", show_default=False)]
ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.", show_default=False)]


def app_for(ctx: typer.Context, module: str | None, url: str | None, prefix: str | None) -> Ferryman:
    """The app for a sub-command: what was said before its name counts too."""
    outer = ctx.obj or {}
    return find_app(
        module or outer.get("module"), url=url or outer.get("url"), prefix=prefix or outer.get("prefix")
    )
