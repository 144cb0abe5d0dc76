"""Options and arguments that several commands share, so that they read alike everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

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
