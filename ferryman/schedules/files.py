"""Schedules as text: read from TOML or JSON, written for export. A schedule is a table of what
``app.schedule(...)`` takes.

    [schedules.nightly-billing]
    task = "shop.billing:run"
    cron = "30 2 * * mon-fri"
    tz = "Europe/Berlin"
    kwargs = { dry_run = false }
    options = { queue = "billing", priority = 5 }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ferryman.errors import ConfigurationError, FerrymanError, InvalidOption
from ferryman.retry import Retry
from ferryman.schedules.defining import define
from ferryman.schedules.definition import OPTIONS, Definition
from ferryman.schedules.spans import moment_text, span_text

if TYPE_CHECKING:
    from ferryman.app import Ferryman

_TABLE = {"task", "args", "kwargs", "options", *OPTIONS}
_DEFAULTS = Definition(name="-", task="-", queue="-")


@dataclass
class FileContents:
    """What a file defines."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """One message for each schedule that cannot be."""
    unreadable: frozenset[str] = frozenset()
    """Their names."""


def read_file(app: Ferryman, path: str) -> FileContents:
    """The schedules in a TOML file, or JSON if its name ends so. A schedule with an error is left out and
    told of. Raises `ConfigurationError` if the file itself cannot be read.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    try:
        document = msgspec.json.decode(text) if path.endswith(".json") else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise ConfigurationError(
            f"{path} is no valid {'JSON' if path.endswith('.json') else 'TOML'}: {error}"
        ) from None
    return read_document(app, document, path)


def read_document(app: Ferryman, document: Any, where: str) -> FileContents:
    """The schedules in a document: ``{"schedules": {name: {...}}}``. Raises `ConfigurationError`."""
    tables = document.get("schedules") if isinstance(document, Mapping) else None
    if not isinstance(tables, Mapping):
        raise ConfigurationError(f"{where} has no schedules: they are tables named [schedules.NAME]")
    found = FileContents()
    for name, table in tables.items():
        try:
            found.definitions[name] = _read(app, name, table)
        except FerrymanError as error:
            found.problems.append(f"{where}: schedule {name!r}: {error}")
    found.unreadable = frozenset(tables) - set(found.definitions)
    return found


def _read(app: Ferryman, name: str, table: Any) -> Definition:
    if not isinstance(table, Mapping):
        raise InvalidOption("is no table")
    if unknown := sorted(set(table) - _TABLE):
        raise InvalidOption(f"has no option {unknown[0]!r}; there are {', '.join(sorted(_TABLE))}")
    if not isinstance(table.get("task"), str):
        raise InvalidOption("names no task")
    task = table["task"]
    if app.tasks:
        app.get_task(task)  # a misspelt one is told of here, and not by a dead letter at night
    options = table.get("options")
    if isinstance(options, Mapping) and isinstance(options.get("retry"), Mapping):
        table = {**table, "options": {**options, "retry": Retry.from_wire(options["retry"])}}
    return define(app, task, name=name, **{key: value for key, value in table.items() if key != "task"})


def table_of(definition: Definition) -> dict[str, Any]:
    """A definition as `read_document` reads it. Arguments that have no plain form are left out, which the
    key ``unreadable`` then says.
    """
    table: dict[str, Any] = {"task": definition.task}
    zone = definition.tz
    if definition.cron:
        table["cron"] = definition.cron
    elif definition.every_ms:
        table["every"] = span_text(definition.every_ms)
    else:
        table["at"] = [moment_text(at, zone) for at in definition.at_ms]
    for option in ("anchor", "start", "end"):
        value = getattr(definition, f"{option}_ms")
        if value:
            table[option] = moment_text(value, zone)
    for option in ("jitter", "grace", "unless_fresh"):
        value = getattr(definition, f"{option}_ms")
        if value != getattr(_DEFAULTS, f"{option}_ms"):
            table[option] = span_text(value)
    for option in ("tz", "misfire", "catch_up", "overlap"):
        value = getattr(definition, option)
        if value != getattr(_DEFAULTS, option):
            table[option] = value
    if definition.exclude:
        table["exclude"] = list(definition.exclude)
    table["options"] = _options(definition)
    table.update(_arguments(definition))
    return table


def _options(definition: Definition) -> dict[str, Any]:
    options = {
        name: value
        for name, value in definition.options.items()
        if name in {"timeout", "result_ttl", "meta", "tags", "priority"}
    }
    if "retry" in definition.options:
        options["retry"] = definition.options["retry"]
    if definition.expires_ms is not None:
        options["expires"] = definition.expires_ms / 1000
    if definition.duration_ms is not None:
        options["duration"] = definition.duration_ms / 1000
    return {"queue": definition.queue, **options}


def _arguments(definition: Definition) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        args = msgspec.msgpack.decode(definition.args)
        kwargs = msgspec.msgpack.decode(definition.kwargs) if definition.kwargs is not None else None
    except msgspec.MsgspecError:
        return {"unreadable": "arguments"}
    if args:
        found["args"] = args
    if kwargs:
        found["kwargs"] = kwargs
    return found
