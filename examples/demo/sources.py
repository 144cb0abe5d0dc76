"""Which files the demo indexes: this Python's own standard library, and a few that no Python can read."""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

SKIPPED = {"site-packages", "dist-packages", "__pycache__"}
BROKEN = {
    "missing_colon.py": "def ferry(cargo)\n    return cargo\n",
    "unclosed.py": "cargo = [1, 2, 3\n",
    "bad_indent.py": "if True:\n    a = 1\n  b = 2\n",
    "not_utf8.py": "name = '\udcff'\n",
}


def find(most: int, temporary: Path) -> tuple[list[Path], list[Path]]:
    """Up to `most` files of the standard library, its tests included where they are installed; and files
    made in `temporary` that do not parse, where the library has too few of these.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(_python_files(root))
    suspects = [path for path in files if "bad" in path.name or "tokenizedata" in path.parts][:most]
    others = [path for path in files if path not in suspects]
    most -= len(suspects)
    if len(others) > most:
        others = [others[place * len(others) // most] for place in range(most)]
    chosen = sorted(suspects + others)
    made = [] if sum(not parses(path) for path in suspects) >= 3 else make_broken(temporary)
    return chosen, made


def _python_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def make_broken(folder: Path) -> list[Path]:
    """Files that do not parse."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, text in BROKEN.items():
        path = folder / name
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        made.append(path)
    return made


def lines_of(paths: list[Path]) -> int:
    """The lines of all `paths`, counted here and now, to compare the fleet's count with."""
    return sum(path.read_bytes().count(b"\n") for path in paths)


def parses(path: Path) -> bool:
    """Whether this Python can read the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True
