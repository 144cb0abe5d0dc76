"""Runs `docs/model/protocol.pml` with spin: looks at every run of it, or walks one at random."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

MODEL = Path(__file__).resolve().parents[2] / "docs/model/protocol.pml"
REQUIRE_SPIN = "FERRYMAN_REQUIRE_SPIN"
LONGEST_S = 300


class Verdict(NamedTuple):
    """What a search has found."""

    errors: int
    whole: bool
    """Every state was looked at."""
    report: str


def require_spin() -> None:
    """Skip the test where spin or a C compiler is missing, or fail it where they are required."""
    missing = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    if missing:
        text = f"no {' and no '.join(missing)} on PATH; on Debian: apt-get install spin gcc libc6-dev"
        if os.environ.get(REQUIRE_SPIN) == "1":
            pytest.fail(f"{text} (required by {REQUIRE_SPIN}=1)")
        pytest.skip(text)


def search(directory: Path, sizes: str, *, endless: bool) -> Verdict:
    """Look at every state; with `endless`, for a run that never ends instead of for a wrong state."""
    defines = [f"-D{size}" for size in sizes.split()]
    _run(directory, "spin", "-a", *defines, str(MODEL))
    way = "-DNP" if endless else "-DSAFETY"
    # Compiling takes longer than most searches: unoptimised is quickest in all.
    _run(directory, "gcc", "-O0", "-w", way, "-DCOLLAPSE", "-DMEMLIM=2000", "-o", "pan", "pan.c")
    report = _run(directory, "./pan", "-m400000", *(["-l"] if endless else []))
    errors = re.search(r"errors: (\d+)", report)
    assert errors is not None, report
    whole = "Search not completed" not in report and "max search depth too small" not in report
    return Verdict(int(errors[1]), whole, report)


def walk(directory: Path, sizes: str, seed: int) -> list[list[str]]:
    """The steps of one random run, each with the rows of the state after it, split into words."""
    defines = [f"-D{size}" for size in [*sizes.split(), "WALK"]]
    lines = _run(directory, "spin", "-T", f"-n{seed}", "-u20000", *defines, str(MODEL)).splitlines()
    return [line.split() for line in lines if line.lstrip()[:1] in {"@", "="}]


def _run(directory: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=LONGEST_S, check=False,
    )  # fmt: skip
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    return report
