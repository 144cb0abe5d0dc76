"""The sub-commands of ``ferryman schedules`` that compare, export and import definitions, and explain one."""

from __future__ import annotations

import sys
from datetime import UTC
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer

from ferryman.cli.display import print_json, show, table
from ferryman.cli.parameters import AsJson, Module, NeededModule, Prefix, Url, app_for
from ferryman.doctor_probe import counted
from ferryman.errors import ConfigurationError, FerrymanError
from ferryman.job import at as moment_at
from ferryman.schedules import cron as crons
from ferryman.schedules.files import read_document, read_file, table_of
from ferryman.schedules.sync import Difference, difference, source_of
from ferryman.schedules.timetable import upcoming, zoned
from ferryman.schedules.words import describe_cron


def register(group: typer.Typer) -> None:
    """Make these commands part of the group."""
    group.command()(diff)
    group.command()(export)
    group.command("import")(import_)
    group.command()(explain)


def diff(
    ctx: typer.Context,
    module: NeededModule,
    file: Annotated[str | None, typer.Option("--file", "-f", help="Compare a file, not the code.")] = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """How code (or a file) and what is kept in Redis differ. Exit code 1 if they do.

    Example: [bold]ferryman schedules diff shop.jobs[/bold]
    """
    app = app_for(ctx, module, url, prefix)
    source, defined = source_of(app, module), dict(app.declared)
    if file is not None:
        source, defined = f"file:{file}", read_file(app, file).definitions
    found = app.store.drive(difference(app, source, defined))
    if as_json:
        print_json([_difference_shape(item) for item in found])
    elif not found:
        show("Nothing differs")
    else:
        rows = [[item.name, item.what, _fields(item)] for item in found]
        show(table(("schedule", "what", "source -> kept"), rows, wraps=["source -> kept"]))
    if found:
        raise typer.Exit(1)


def _difference_shape(item: Difference) -> dict[str, Any]:
    fields = {name: {"source": source, "kept": kept} for name, (source, kept) in item.fields.items()}
    return {"name": item.name, "what": item.what, "fields": fields}


def _fields(item: Difference) -> str:
    return "; ".join(f"{name}: {source!r} -> {kept!r}" for name, (source, kept) in item.fields.items())


def export(
    ctx: typer.Context,
    module: Module = None,
    url: Url = None,
    prefix: Prefix = None,
) -> None:
    """Print all schedules as JSON that import reads.

    Example: [bold]ferryman schedules export > schedules.json[/bold]
    """
    found = app_for(ctx, module, url, prefix).schedules.overview()
    print_json({"schedules": {info.name: table_of(info.definition) for info in found if info.definition}})


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON or TOML; - reads JSON from stdin.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace those of the same name that were added at run time.")
    ] = False,
    module: Annotated[str | None, typer.Option("--module", envvar="FERRYMAN_APP")] = None,
    url: Url = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Add the schedules of a file as if by hand. One that cannot be is told of; the others are added.

    Example: [bold]ferryman schedules import schedules.json --replace[/bold]
    """
    app = app_for(ctx, module, url, prefix)
    if file == "-":
        try:
            contents = read_document(app, msgspec.json.decode(sys.stdin.buffer.read()), "stdin")
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"stdin is no valid JSON: {error}") from None
    else:
        contents = read_file(app, file)
    added, problems = [], list(contents.problems)
    for definition in contents.definitions.values():
        try:
            app.schedules.put(definition, replace=replace)
            added.append(definition.name)
        except FerrymanError as error:
            problems.append(f"schedule {definition.name!r}: {error}")
    if as_json:
        print_json({"added": added, "problems": problems})
    else:
        show(*problems, f"{counted(len(added), 'schedule')} added, {len(problems)} not")
    if problems:
        raise typer.Exit(1)


def explain(
    expression: Annotated[str, typer.Argument(metavar="CRON", help="As in '30 2 * * mon-fri'.")],
    tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="As in Europe/Berlin.")] = "UTC",
    count: Annotated[int, typer.Option("--next", "-n", min=1, max=1000, help="How many ticks.")] = 5,
    name: Annotated[str, typer.Option("--name", help="The schedule's name, which H follows from.")] = "",
    as_json: AsJson = False,
) -> None:
    """Explain a cron expression in words, with its next ticks. Needs no Redis.

    Example: [bold]ferryman schedules explain "30 2 * * mon-fri" --tz Europe/Berlin[/bold]
    """
    import time

    words = describe_cron(expression, name)
    moments = upcoming(zoned(crons.parse(expression, name), tz), int(time.time() * 1000), count)
    ticks = [found for moment in moments if (found := moment_at(moment)) is not None]
    zone = ZoneInfo(tz)
    if as_json:
        shown = [{"local": at.astimezone(zone).isoformat(), "utc": at} for at in ticks]
        print_json({"cron": expression, "tz": tz, "words": words, "upcoming": shown})
        return
    rows = [
        [f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %z}", f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"]
        for at in ticks
    ]
    show(f"{words}, {tz}", "", table((tz, "UTC"), rows))
