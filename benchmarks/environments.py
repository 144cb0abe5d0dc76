"""One virtual environment per rival, made on demand and kept under `benchmarks/.envs`.

Every rival gets the C protocol parser (hiredis), because Ferryman depends on it: the comparison is of the
systems, not of their parsers. Async rivals also get uvloop where their own documentation recommends it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.errors import BenchmarkError

ENVIRONMENTS = Path(__file__).parent / ".envs"
INSTALL_DEADLINE_S = 600.0

PINS: dict[str, tuple[str, ...]] = {
    "rq": ("rq==3.0.0", "hiredis==3.5.0"),
    "celery": ("celery[redis]==5.7.0", "hiredis==3.5.0"),
    "dramatiq": ("dramatiq[redis]==2.2.1", "hiredis==3.5.0"),
    "huey": ("huey==3.5.4", "redis", "hiredis==3.5.0"),
    "arq": ("arq==0.28.0", "hiredis==3.5.0"),
    "saq": ("saq[redis,hiredis]==0.26.4", "typing_extensions"),
    "taskiq": ("taskiq[uv]==0.13.0", "taskiq-redis==1.2.4", "hiredis==3.5.0", "uvloop"),
    "streaq": ("streaq==7.2.0", "hiredis==3.5.0"),
}
"""Environment name -> requirements. The one place where rivals' versions are written."""

_REPORTED = ("redis", "hiredis", "uvloop", "kombu", "coredis", "taskiq-redis", "msgpack")


@dataclass(frozen=True)
class Environment:
    """An interpreter in which a system is installed."""

    name: str
    python: Path

    @property
    def bin(self) -> Path:
        """The folder of the environment's commands."""
        return self.python.parent

    def versions(self, *distributions: str) -> dict[str, str]:
        """Installed versions of the named distributions and of the libraries that matter for speed."""
        wanted = [*distributions, *_REPORTED]
        program = (
            "import json,sys\nfrom importlib import metadata\nfound={}\n"
            "for name in sys.argv[1:]:\n"
            "    try: found[name]=metadata.version(name)\n"
            "    except metadata.PackageNotFoundError: pass\n"
            "print(json.dumps(found))"
        )
        done = subprocess.run(
            [str(self.python), "-c", program, *wanted], capture_output=True, text=True, timeout=60, check=True
        )
        found: dict[str, str] = json.loads(done.stdout)
        return found


def own_environment() -> Environment:
    """The environment of the interpreter that runs the harness: Ferryman and the floor run here."""
    return Environment("own", Path(sys.executable))


def environment(name: str | None) -> Environment:
    """The environment of that name, created and filled if it is missing or its pins have changed.

    `None` means the harness's own. Raises BenchmarkError if the installation fails.
    """
    if name is None:
        return own_environment()
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    stamp = folder / "pins.txt"
    wanted = "\n".join(PINS[name])
    if stamp.exists() and stamp.read_text() == wanted:
        return Environment(name, python)
    _run(name, [sys.executable, "-m", "venv", "--clear", str(folder)])
    _run(name, [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS[name]])
    stamp.write_text(wanted)
    return Environment(name, python)


def installed(distribution: str) -> bool:
    """Whether the harness's own environment has that distribution."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_DEADLINE_S, check=False)
    if done.returncode != 0:
        raise BenchmarkError(
            f"the environment of {name} could not be made: {' '.join(command)}\n{done.stderr}"
        )
