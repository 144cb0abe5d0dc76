"""The repository as a thing to copy, to build and to run tools on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("dashboard", "scheduler", "worker")
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import ferryman
for found in pkgutil.walk_packages(ferryman.__path__, "ferryman."):
    if not found.name.endswith(".__main__"):
        importlib.import_module(found.name)
print("\\n".join(sorted(sys.modules)))
"""

_MADE_AT_THE_TOP = {".git", ".venv", "build", "dist", "htmlcov", "site"}
_MADE_ANYWHERE = shutil.ignore_patterns(
    ".*_cache", ".envs", ".hypothesis", "__pycache__", "*.egg-info", "*.pyc"
)
_OF_THIS_RUN = ("COV", "FORCE_COLOR", "PYTEST", "PYTHON")


def copy_of_the_checkout(target: Path) -> Path:
    """The repository's files, links kept, without what was built, cached or installed in it."""

    def made_not_written(folder: str, names: list[str]) -> set[str]:
        at_the_top = _MADE_AT_THE_TOP if Path(folder) == ROOT else set()
        return _MADE_ANYWHERE(folder, names) | at_the_top

    return Path(shutil.copytree(ROOT, target, symlinks=True, ignore=made_not_written))


def attempt(*command: str | Path, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. `path`, if given, comes first where Python looks for packages."""
    # What this test run was told by its environment must not decide what the command finds.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THIS_RUN)}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def python(*arguments: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Output of this interpreter, which has to succeed. `-P`: it does not look for packages where it runs."""
    done = attempt(sys.executable, "-P", *arguments, cwd=cwd, path=path)
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
