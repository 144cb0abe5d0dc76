"""What somebody who mistyped a module or a file probably meant."""

from __future__ import annotations

import difflib
import importlib.util
import os
import pkgutil
from pathlib import Path


def near_module(missing: str) -> str:
    """What the missing part of a dotted name was probably meant to be."""
    parent, _, last = missing.rpartition(".")
    try:
        package = importlib.util.find_spec(parent) if parent else None
    except (ImportError, AttributeError, ValueError):
        return ""
    if parent and package is None:
        return near_module(parent)
    folders = list(package.submodule_search_locations or []) if package else [os.getcwd()]
    names = [module.name for module in pkgutil.iter_modules(folders)]
    near = difflib.get_close_matches(last, names, n=1)
    return f"; did you mean {parent + '.' if parent else ''}{near[0]}?" if near else ""


def near_file(path: Path) -> str:
    """The same for a file's name."""
    names = [entry.name for entry in path.parent.glob("*.py")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
