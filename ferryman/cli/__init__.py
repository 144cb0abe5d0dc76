"""The ``ferryman`` command: one module a command, put together in `ferryman.cli.program`.

Importing this package costs nothing: typer and rich are loaded when a command runs, and by no worker process.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """The entry point of the ``ferryman`` command."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from ferryman import __version__

        sys.stdout.write(f"ferryman {__version__}\n")
        sys.exit(0)
    from ferryman.cli.program import run

    sys.exit(run(sys.argv[1:]))
