"""From what was typed to a `Ferryman`: ``shop.jobs``, ``shop.jobs:app``, ``shop/jobs.py``, or just a URL."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ferryman.app import Ferryman
from ferryman.cli.nearest import near_file, near_module
from ferryman.errors import FerrymanError


class AppNotFound(FerrymanError):
    """The module, or the app in it, cannot be found."""

    code = "app_not_found"


def find_app(location: str | None, *, url: str | None = None, prefix: str | None = None) -> Ferryman:
    """The app at `location`; without one, an app without tasks whose URL is `url` or ``FERRYMAN_URL``.

    `url` and `prefix` go before the app's own. Raises `AppNotFound`, `ConfigurationError`.
    """
    if not location:
        return Ferryman(url, prefix=prefix)
    module_name, _, attribute = location.partition(":")
    app = app_in(load_module(module_name), attribute)
    return moved(app, url, prefix)


def module_of(location: str) -> str:
    """``MODULE`` of ``MODULE[:app]``."""
    return location.partition(":")[0]


def load_module(name: str) -> ModuleType:
    """Import a module by dotted name or file path, from the current directory or what is installed."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    full = dotted(name)
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name and (full == error.name or full.startswith(f"{error.name}.")):
            raise AppNotFound(f"there is no module {name!r} here ({here}){near_module(full)}") from None
        raise AppNotFound(
            f"module {name!r} cannot be imported: it imports {error.name!r}, which is not installed"
        ) from error
    except FerrymanError:
        raise
    except (Exception, SystemExit) as error:
        raise AppNotFound(f"module {name!r} cannot be imported: {_where(error)}{_brief(error)}") from error


def dotted(name: str) -> str:
    """The dotted name of a module given as a file's path; a file elsewhere brings its directory along."""
    if not (name.endswith(".py") or os.sep in name):
        return name
    path = Path(name).resolve()
    if path.is_dir() and (path / "__init__.py").exists():
        path /= "__init__.py"
    if not path.is_file():
        raise AppNotFound(f"there is no file {name!r}{near_file(path)}")
    parts = [path.stem] if path.stem != "__init__" else []
    folder = path.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return ".".join(parts)


def app_in(module: ModuleType, attribute: str = "") -> Ferryman:
    """The app that `attribute` names, or the module's only one. Raises `AppNotFound`."""
    if attribute:
        found: Any = module
        for part in attribute.split("."):
            if not hasattr(found, part):
                near = difflib.get_close_matches(part, _apps(module), n=1) or list(_apps(module))[:1]
                hint = f"; did you mean {module.__name__}:{near[0]}?" if near else ""
                raise AppNotFound(f"module {module.__name__!r} has no {attribute!r}{hint}")
            found = getattr(found, part)
        if not isinstance(found, Ferryman):
            raise AppNotFound(
                f"{module.__name__}:{attribute} is a {type(found).__name__}, not a Ferryman app"
            )
        return found
    apps = _apps(module)
    distinct = {id(app): app for app in apps.values()}
    if not distinct:
        raise AppNotFound(
            f"module {module.__name__!r} has no Ferryman app: name the module that says app = Ferryman(...), "
            "or import the app there"
        )
    if len(distinct) > 1:
        names = ", ".join(f"{module.__name__}:{name}" for name in sorted(apps))
        raise AppNotFound(f"module {module.__name__!r} has several apps, name one: {names}")
    return next(iter(distinct.values()))


def _apps(module: ModuleType) -> dict[str, Ferryman]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Ferryman)}


def moved(app: Ferryman, url: str | None, prefix: str | None) -> Ferryman:
    """The app with its tasks, at another URL or prefix where one is given."""
    changes: dict[str, Any] = {name: value for name, value in (("url", url), ("prefix", prefix)) if value}
    if not changes:
        return app
    sources = {**app.settings.sources, **dict.fromkeys(changes, "command line")}
    app.settings = dataclasses.replace(app.settings, **changes, sources=sources)
    for part in (
        "store",
        "producer",
        "lookup",
        "listener",
        "schedules",
        "shard_list",
    ):  # made anew at their next use
        vars(app).pop(part, None)
    return app


def _where(error: BaseException) -> str:
    """``file:line: `` of the innermost line that is not Python's import machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    found = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith("<frozen") and name not in (__file__, importlib.__file__):
            found = f"{name}:{trace.tb_lineno}: "
        trace = trace.tb_next
    return found


def _brief(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
