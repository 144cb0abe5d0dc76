"""The demo tells the truth: it runs without a terminal, kills a worker, and checks itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo"


@pytest.mark.timeout(180)
def test_the_demo_holds_its_own_checks_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FERRYMAN_")}
    found = subprocess.run(
        [sys.executable, str(DEMO), "--files", "150"],
        capture_output=True, text=True, timeout=170, check=False, cwd=DEMO.parents[1],
        env={**environment, "TMPDIR": str(tmp_path), "PYTHONPATH": str(DEMO.parents[1])},
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert "kill -9" in found.stdout
    assert "they were back in the queue" in found.stdout
    assert found.stdout.count("\n  ok   ") == 6
    assert "FAIL" not in found.stdout
    assert "\x1b" not in found.stdout
    assert list(tmp_path.iterdir()) == []
